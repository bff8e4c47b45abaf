"""Real servers on loopback for tests, with faults that a test switches on and off.

* :func:`.clickhouse_http.clickhouse_server`: ClickHouse's HTTP protocol over an embedded engine in a child process.
* :func:`.s3_proxy.s3_fault_proxy`: a reverse proxy in front of any S3 endpoint.
* :class:`.faults.Fault`: what goes wrong, when and how often; the same type for both.
"""
