"""Whether a websocket's client lives: a ping after a time of silence, the end when nothing answers.

What lives here: `Heartbeat`. What does not: the frames (`websocket`). As in uWSGI a client is only judged while the app
listens: what it has sent to an app that does something else has not been read. Any byte is a sign of life, not only a
pong, because a client in the middle of a large message cannot send one.
"""

from __future__ import annotations

from typing import Protocol

from uwsgi_async.fdwait.poller import Poller
from uwsgi_async.fdwait.timers import Timer
from uwsgi_async.options.websockets import WebSocketOptions

_SHORTEST = 0.001  # seconds between two looks


class Patient(Protocol):
    """Whose heart is watched: a websocket."""

    def ping(self) -> None:
        """Send a ping, without waiting."""

    def lose(self, reason: str) -> None:
        """Give the client up."""


class Heartbeat:
    """Pings ``patient`` when its client is silent, and gives it up when it stays so. No message touches the timer.

    ``listening``: the app waits for messages. Call `stop` at the end.
    """

    __slots__ = ("_freq", "_heard", "_patient", "_pinged", "_poller", "_timer", "_tolerance", "listening")

    def __init__(self, patient: Patient, poller: Poller, options: WebSocketOptions) -> None:
        self._patient = patient
        self._poller = poller
        self._freq = options.websockets_ping_freq
        self._tolerance = options.websockets_pong_tolerance
        self._heard = poller.time()
        self._pinged = 0.0  # when the ping was sent that has no answer yet; 0.0: none
        self.listening = False
        self._timer: Timer | None = poller.timers.call_later(self._freq, self._beat)

    def __repr__(self) -> str:
        return f"<Heartbeat every {self._freq:g} s{', waiting for a pong' if self._pinged else ''}>"

    def heard(self) -> None:
        """Note that something came."""
        self._heard = self._poller.heartbeat
        self._pinged = 0.0

    def look(self) -> None:
        """Ping a client that is silent, give up one that is dead. Also for an app that asks now and then."""
        now = self._poller.time()
        if self._pinged:
            if now - self._pinged >= self._tolerance:
                self._patient.lose(
                    f"the client answered no ping for {self._tolerance:g} s (option websockets-pong-tolerance)"
                )
        elif now - self._heard >= self._freq:
            self._pinged = now
            self._patient.ping()

    def stop(self) -> None:
        """Let the client be."""
        if self._timer is not None:
            self._poller.timers.cancel(self._timer)
            self._timer = None

    def _beat(self) -> None:
        wait = self._freq
        if self.listening:
            self.look()
            due = self._pinged + self._tolerance if self._pinged else self._heard + self._freq
            wait = min(max(due - self._poller.time(), _SHORTEST), self._freq)  # a pong may have come by then
        if self._timer is not None:  # else the client was given up just now
            self._timer = self._poller.timers.call_later(wait, self._beat)
