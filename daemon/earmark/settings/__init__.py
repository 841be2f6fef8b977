"""Every setting, with its default, its unit and why it is there; TOML and environment in, frozen `Settings` out."""

from earmark.settings.deployment import Alerts as Alerts
from earmark.settings.deployment import Aws as Aws
from earmark.settings.deployment import Database as Database
from earmark.settings.deployment import Ecs as Ecs
from earmark.settings.deployment import Outbox as Outbox
from earmark.settings.deployment import Prices as Prices
from earmark.settings.deployment import Queue as Queue
from earmark.settings.deployment import Results as Results
from earmark.settings.deployment import Retention as Retention
from earmark.settings.listening import Hls as Hls
from earmark.settings.listening import Leases as Leases
from earmark.settings.listening import MediaLive as MediaLive
from earmark.settings.listening import Reconcile as Reconcile
from earmark.settings.listening import SessionSettings as SessionSettings
from earmark.settings.listening import StaticStream as StaticStream
from earmark.settings.loading import PREFIX as PREFIX
from earmark.settings.loading import Loaded as Loaded
from earmark.settings.loading import Settings as Settings
from earmark.settings.loading import load as load
from earmark.settings.loading import tried as tried
from earmark.settings.recordings import Catalogue as Catalogue
from earmark.settings.section import Section as Section
