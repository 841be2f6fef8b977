"""What the daemon tells its operator: one line per thing that happened, one catalogue of metrics, one HTTP port."""

from earmark.telemetry.counted import CanaryMeter as CanaryMeter
from earmark.telemetry.counted import CountedCatalogue as CountedCatalogue
from earmark.telemetry.counted import ViewingMeter as ViewingMeter
from earmark.telemetry.logs import configure_logging as configure_logging
from earmark.telemetry.metrics import Metrics as Metrics
from earmark.telemetry.server import Check as Check
from earmark.telemetry.server import Pulse as Pulse
from earmark.telemetry.server import TelemetryServer as TelemetryServer
from earmark.telemetry.server import overdue as overdue
