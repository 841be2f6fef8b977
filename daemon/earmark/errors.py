"""What can go wrong, sorted by what the caller should do about it.

    EarmarkError
      Transient                 try again with back-off
        SourceUnavailable         an origin is slow, down, or answers 5xx
        DatabaseUnavailable       connection lost, pool exhausted, statement timed out
        AwsUnavailable            an AWS call failed in a way that may pass (throttled, 5xx, no network)
        Postponed                 not yet: nothing is wrong, and it says when to ask again
        WebhookUnavailable        a webhook's receiver is slow, down, or asks to be left alone for a while
      Permanent                 do not try again; report once
        BadMessage                a queue message that cannot be understood: left for the dead-letter queue
        BadSettings               wrong settings or invocation: exit code 2
        SourceUnsupported         no audio, a forbidden address, a scheme or codec that is not heard
        UnreadableAudio           these bytes are not audio: costs that segment, or that file
        UnreadableCatalogue       a file that is to be imported is none, cut, altered, or of another format
        StreamNotFound            the channel or stream does not exist (any more)
        FingerprintMismatch       something was made with another fingerprint version
          CatalogueMismatch         the catalogue's tables were, or are by now: another worker goes on
        SchemaMismatch            the database is older or newer than this daemon may run on
        LeaseLost                 another worker owns the stream: stop at once, publish nothing
        AwsRefused                an AWS call that will never succeed (denied, no credentials, no such bucket)
        WebhookRefused            a webhook's receiver that will not have it, or whose address is forbidden

Anything else is a bug: it ends its session loudly. Every message is one sentence that names the thing, the reason and,
where there is one, the remedy, because it is what a user reads.
"""


class EarmarkError(Exception):
    """Base of every error that Earmark raises on purpose."""


class Transient(EarmarkError):
    """May pass: retried with back-off, within a limit."""

    #: Whoever was asked wants to be left alone for so long; 0: nothing was said.
    retry_after_s: float = 0.0


class SourceUnavailable(Transient):
    """An origin is slow, down, or answers with a server error."""


class DatabaseUnavailable(Transient):
    """PostgreSQL cannot be reached, or a statement ran out of time."""


class AwsUnavailable(Transient):
    """An AWS call failed in a way that may pass."""


class WebhookUnavailable(Transient):
    """A webhook's receiver is slow, down, or asks to be left alone for a while."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Postponed(Transient):
    """It is not time for it, or not its turn: nothing has failed. Whoever raises it sees to it that this ends."""

    def __init__(self, sentence: str, *, after_s: float) -> None:
        super().__init__(sentence)
        #: Until it is asked for again.
        self.after_s = after_s


class Permanent(EarmarkError):
    """Will not pass: reported once, never retried."""


class BadMessage(Permanent):
    """A queue message that cannot be understood; it stays on the queue until the dead-letter queue takes it."""


class BadSettings(Permanent):
    """The settings or the invocation are wrong; the command ends with exit code 2."""


class SourceUnsupported(Permanent):
    """Something that is not listened to: no audio, a forbidden address, an unknown scheme or codec."""


class UnreadableAudio(Permanent):
    """These bytes are not audio; costs the segment or the file they came from, nothing else."""


class UnreadableCatalogue(Permanent):
    """A file that is to be imported into the catalogue is none, cut off, altered, or of another format."""


class StreamNotFound(Permanent):
    """The channel or the stream does not exist, or is not live any more."""


class FingerprintMismatch(Permanent):
    """It was fingerprinted with another version."""


class CatalogueMismatch(FingerprintMismatch):
    """The tables in use are another version's: they always were, or were exchanged a moment ago."""


class SchemaMismatch(Permanent):
    """The database schema is too old or too new for this daemon."""


class LeaseLost(Permanent):
    """The stream belongs to another worker now; stop at once and publish nothing."""


class AwsRefused(Permanent):
    """An AWS call that will not succeed by being repeated: denied, no credentials, no such bucket."""


class WebhookRefused(Permanent):
    """A webhook's receiver will not have what it is sent, or its address is one that nothing is sent to."""
