"""SNMP: numbers that all processes set, and an agent that tells them to the tools of network management.

A datagram's way: `server` receives it, `agent` decides, `message` reads and writes the bytes, `tree` has the values.
"""
