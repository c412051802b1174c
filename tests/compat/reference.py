"""Every name of uWSGI's Python API, by the chapters of its reference."""

REFERENCE = {
    "Globals and constants": """
        numproc buffer_size started_on fastfuncs applist applications message_manager_marshal magic_table opt version
        version_info hostname cores has_threads loop sockets unbit is_a_reload queue_size spoolers SPOOL_OK
        SPOOL_RETRY SPOOL_IGNORE start_response env mode pidfile SymbolsImporter SymbolsZipImporter ZipImporter
    """,
    "Cache": """
        cache_get cache_set cache_update cache_del cache_exists cache_clear cache_inc cache_dec cache_mul cache_div
        cache_num cache_keys
    """,
    "Queue": """
        queue_push queue_pop queue_pull queue_get queue_set queue_last queue_slot queue_pull_slot
    """,
    "SNMP": """
        snmp_set_counter32 snmp_set_counter64 snmp_set_gauge snmp_incr_counter32 snmp_incr_counter64 snmp_incr_gauge
        snmp_decr_counter32 snmp_decr_counter64 snmp_decr_gauge snmp_set_community
    """,
    "Spooler": """
        send_to_spooler spool set_spooler_frequency spooler_jobs spooler_pid spooler_pids spooler_get_task
        i_am_the_spooler
    """,
    "Signals, timers, cron, file monitors": """
        register_signal signal signal_wait signal_received signal_registered add_timer add_rb_timer add_cron
        add_file_monitor add_probe
    """,
    "Mules and farms": """
        mule_msg mule_get_msg farm_msg farm_get_msg in_farm mule_id
    """,
    "RPC": """
        register_rpc rpc call rpc_list
    """,
    "Locks": """
        lock unlock is_locked
    """,
    "Logging and log variables": """
        log log_this_request set_logvar get_logvar alarm set_warning_message logsize
    """,
    "Workers and process control": """
        workers worker_id masterpid total_requests request_id reload stop accepting ready set_user_harakiri
        setprocname listen_queue mem get_option getoption set_option setoption sorry_i_need_to_block grunt has_hook
    """,
    "The current request": """
        sendfile offload disconnect connection_fd cl add_var start_response route
    """,
    "Networking": """
        connect async_connect is_connected send recv close recv_block recv_frame send_message send_uwsgi_message
        async_send_message send_multi_message send_multi_uwsgi_message fcgi send_multicast_message cluster
        cluster_nodes cluster_node_name cluster_best_node
    """,
    "Async": """
        async_sleep wait_fd_read wait_fd_write suspend green_schedule ready_fd
    """,
    "SharedArea": """
        sharedarea_read sharedarea_write sharedarea_read8 sharedarea_readbyte sharedarea_write8 sharedarea_writebyte
        sharedarea_read16 sharedarea_write16 sharedarea_read32 sharedarea_write32 sharedarea_read64
        sharedarea_readlong sharedarea_write64 sharedarea_writelong sharedarea_inc64 sharedarea_inclong
        sharedarea_dec64 sharedarea_inc32 sharedarea_dec32 sharedarea_rlock sharedarea_wlock sharedarea_unlock
        sharedarea_memoryview sharedarea_object
    """,
    "WebSockets and chunked input": """
        websocket_handshake websocket_recv websocket_recv_nb websocket_send websocket_send_binary chunked_read
        chunked_read_nb
    """,
    "Metrics": """
        metric_get metric_set metric_inc metric_dec metric_mul metric_div metric_set_max metric_set_min
    """,
    "Legion": """
        i_am_the_lord lord_scroll scrolls erlang_connect erlang_send_message erlang_send erlang_recv_message
        erlang_recv erlang_register_process erlang_rpc erlang_close erlang_sr erlang_lock erlang_unlock erlang_node
    """,
    "Config parsing and miscellany": """
        parsefile extract embedded_data micros
    """,
}
"""What uWSGI 2.0.31 has, and what its documentation names besides."""

DOCUMENTED = """
    numproc buffer_size started_on fastfuncs applist applications message_manager_marshal magic_table opt cache_get
    cache_set cache_update cache_del cache_exists cache_clear queue_get queue_set queue_last queue_push queue_pull
    queue_pop queue_slot queue_pull_slot snmp_set_community snmp_set_counter32 snmp_set_counter64 snmp_set_gauge
    snmp_incr_counter32 snmp_incr_counter64 snmp_incr_gauge snmp_decr_counter32 snmp_decr_counter64 snmp_decr_gauge
    send_to_spooler set_spooler_frequency spooler_jobs spooler_pid spooler_get_task send_message route
    send_multi_message accepting reload stop workers masterpid total_requests get_option set_option
    sorry_i_need_to_block request_id worker_id mule_id log log_this_request set_logvar get_logvar disconnect grunt
    lock is_locked unlock cl setprocname listen_queue register_signal signal signal_wait signal_registered
    signal_received add_file_monitor add_timer add_probe add_rb_timer add_cron register_rpc rpc rpc_list call sendfile
    set_warning_message mem has_hook logsize send_multicast_message cluster_nodes cluster_node_name cluster
    cluster_best_node connect connection_fd is_connected send recv recv_block recv_frame close i_am_the_spooler fcgi
    parsefile embedded_data extract mule_msg farm_msg mule_get_msg farm_get_msg in_farm ready set_user_harakiri
    async_sleep async_connect async_send_message green_schedule suspend wait_fd_read wait_fd_write sharedarea_read
    sharedarea_write sharedarea_readbyte sharedarea_writebyte sharedarea_readlong sharedarea_writelong
    sharedarea_inclong erlang_send_message erlang_register_process erlang_recv_message erlang_connect erlang_rpc spool
    getoption setoption send_uwsgi_message send_multi_uwsgi_message
"""
"""The names of uWSGI's page about the uwsgi Python module, with the aliases in its text."""
