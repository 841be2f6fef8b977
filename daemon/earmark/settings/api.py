"""The HTTP API."""

from pydantic import Field, IPvAnyNetwork

from earmark.settings.section import Port, Positive, Section

#: S3 takes no more in one POST (S3 user guide, "Uploading objects": 5 GiB).
POST_BYTES_MAX = 5 << 30
#: A signature of version 4 holds no longer.
SIGNATURE_S_MAX = 604_800


class Api(Section):
    """The HTTP API of `earmark run --role api`, in plain HTTP: TLS is the load balancer's."""

    host: str = Field("0.0.0.0", description="address to listen on")
    port: Port = Field(8080, description="0: any free one; the log line api.listening says which")
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="addresses or networks of load balancers, whose X-Forwarded-For is believed; without them all who come through one count as one address"
    )
    connections_max: int = Field(256, ge=1, le=10_000, description="connections open at once; further ones are closed at once")
    requests_max: int = Field(
        32, ge=1, le=1_000, description="requests under way at once; further ones are answered 503. Each may hold identify_bytes_max of disk"
    )
    threads: int = Field(8, ge=1, le=64, description="requests that wait for PostgreSQL or AWS at once; others wait for them")
    address_requests_per_minute: int = Field(600, ge=1, description="requests of one address (IPv6: one /64), known or not, counted in each process; then 429")
    token_requests_per_minute: int = Field(240, ge=1, description="requests of one token, counted in each process; then 429")
    body_bytes_max: int = Field(65_536, ge=1_024, le=1 << 20, description="of a request's JSON; but for what is to be identified")
    header_wait_s: Positive = Field(10, description="from a connection to its first request whole: who takes longer is disconnected")
    idle_s: int = Field(
        75, ge=1, description="a connection that asks nothing more is closed: longer than a load balancer's own idle time (60), or it answers 502"
    )
    body_wait_s: Positive = Field(15, description="a client that sends or takes nothing for so long is not waited for")
    request_s_max: Positive = Field(180, description="from a request's first byte to its answer, its body included")
    drain_s: int = Field(20, ge=1, description="after SIGTERM no connections are taken, and requests under way have so long to end")
    identify_bytes_max: int = Field(33_554_432, ge=65_536, le=1 << 30, description="of audio, or of a fingerprint, that is to be identified")
    identify_s_max: Positive = Field(600, le=36_000, description="of audio that is to be identified: ten minutes cost some seconds of a core")
    identify_wait_s: Positive = Field(60, description="from audio in hand to its answer; decoding is ended, in its own process, when it takes longer")
    identify_at_once: int = Field(2, ge=1, le=64, description="clips that are decoded and matched at once: each takes a core")
    upload_bytes_max: int = Field(1_000_000_000, ge=1, le=POST_BYTES_MAX, description="of one recording; S3 takes no more than 5 GiB in one POST")
    upload_valid_s: int = Field(900, ge=60, le=SIGNATURE_S_MAX, description="an upload's form holds for so long; less if the task's credentials end before")
    upload_days: int = Field(7, ge=1, le=365, description="what was announced and has not come whole by then is deleted, with its description")
    page_max: int = Field(200, ge=1, le=1_000, description="rows of one page of a list")
