"""The trace header of AWS's load balancers, which name a trace and neither a span nor whether it is wanted."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.aws.aws_xray_propagator import TRACE_HEADER_KEY
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.extension.aws.trace import AwsXRayIdGenerator

_FIELDS = ("Root", "Parent", "Sampled")


class XRayPropagator(AwsXRayPropagator):
    """Reads headers that lack ``Parent`` or ``Sampled`` too.

    The one that it extends drops a header without ``Parent``, and takes one without ``Sampled`` for unwanted. A load
    balancer writes ``Root=1-…`` alone, perhaps with a ``Self`` before it: then the trace's id is kept, its parent is a
    span that nobody sends, and it is wanted.
    """

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """The context that a request's headers name."""
        headers = getter.get(carrier, TRACE_HEADER_KEY)
        context = Context() if context is None else context
        if not headers:
            return context
        pairs = (part.strip().partition("=") for part in headers[0].split(";"))
        found = {name: value for name, _, value in pairs if name in _FIELDS and value}
        if "Root" not in found:
            return context
        if found.get("Sampled") not in ("0", "1"):  # "?" leaves it to us
            found["Sampled"] = "1"
        found.setdefault("Parent", f"{AwsXRayIdGenerator().generate_span_id():016x}")
        header = ";".join(f"{name}={found[name]}" for name in _FIELDS)
        return super().extract({TRACE_HEADER_KEY: header}, context, default_getter)
