"""Every line that Earmark writes into its log: when, at which level, with which fields. README's table and docs/log-lines.md are made of it.

A line's event is a noun and what happened to it. Its level says who has to care:

    debug     nobody, but whoever looks for a fault
    info      nobody: it went as it should
    warning   whoever sees it keep coming: something failed, and is tried again, gone without, or put right
    error     somebody, now: something was given up or put aside, or there is a bug
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
_DEBUG, _INFO, _WARNING, _ERROR = "debug", "info", "warning", "error"


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    #: Where it may have several, the first is the usual one.
    levels: str
    says: str
    #: Beside those that all lines, or all of a stream, have; separated by blanks.
    fields: str = ""
    #: One of the lines that an operator should know.
    matters: bool = False
    #: Written however often it comes: work that was done, and no failure.
    each: bool = False


def _event(name: str, levels: str, says: str, fields: str = "", *, matters: bool = False, each: bool = False) -> Event:
    return Event(name, levels, says, fields, matters, each)


#: In the order of a stream's life; what concerns no stream follows, by what it is about.
EVENTS: Final = (
    # ---------------------------------------------------------------------------------------- the process
    _event("service.started", _INFO, "the worker is ready", "worker roles tracks", matters=True),
    _event("service.stopped", _INFO, "the worker has ended, and handed over what it had", "worker", matters=True),
    _event("loop.failed", _ERROR, "a part of the worker has died, and the worker ends with it: it is started again by whoever runs it; the reason says what to mend", "loop reason", matters=True),
    _event("telemetry.listening", _INFO, "/metrics, /healthz and /readyz are there", "port"),
    _event("telemetry.request_failed", _DEBUG, "a request for /metrics or /healthz broke off"),
    _event("supervisor.draining", _INFO, "the worker is asked to end: its sessions are handed over", "sessions"),
    _event("supervisor.drained", _INFO, "all of them are"),
    _event("protection.failed", _WARNING, "ECS was not told whether this task may be ended", "protected reason"),
    # ---------------------------------------------------------------------------------------- the queue
    _event("message.not_understood", _ERROR, "a message is none that is known, and goes to the dead-letter queue: look at what writes to the queue", "message_id reason", matters=True),
    _event("message.not_recorded", _ERROR, "a bug that a message brought to light; it goes to the dead-letter queue", "message_id"),
    _event("message.postponed", _WARNING, "AWS could not be asked about what it says: it comes again", "message_id reason"),
    _event("message.unknown", _WARNING, "an event of a kind that this version has never heard of: it was deleted", "detail_type message_id"),
    _event("message.ignored", _DEBUG, "an event without consequences", "kind"),
    _event("message.kept", _WARNING, "SQS did not delete a message: it comes again, and changes nothing", "message_id reason"),
    _event("intake.failed", _WARNING, "the queue or the database did not answer: told when it begins", "reason"),
    _event("channel.without_place", _WARNING, "where the files of a MediaLive channel are could not be found out", "channel_arn reason"),
    _event("segment.homeless", _WARNING, "an archive file of a run that nobody has announced yet", "bucket key event_id"),
    # ---------------------------------------------------------------------------------------- which streams
    _event("stream.wanted", _INFO, "a stream is to be heard: an event said that it has begun, or it always is", "channel_arn source age_s stale event_id", matters=True, each=True),
    _event("stream.stopped", _INFO, "an event said that it is over; what is still there is heard", "channel_arn reason event_id", each=True),
    _event("stream.adopted", _WARNING, "a sweep found it live: the event of its start was lost", "channel_arn", matters=True),
    _event("stream.reopened", _WARNING, "a sweep found it live, and its session had ended"),
    _event("stream.missed", _WARNING, "a sweep found it over: the event of its end was lost"),
    _event("stream.named_twice", _WARNING, "the settings and the database have a stream of this name: the settings' is heard", "name reason"),
    _event("segments.found", _WARNING, "a sweep found archive files whose events were lost", "segments first"),
    _event("files.found", _WARNING, "a sweep found files to check whose events were lost", "files first"),
    _event("sweep.failed", _WARNING, "a sweep could not be made: told when it begins, and when the reason changes", "sweep reason"),
    _event("archive.not_listed_whole", _WARNING, "more archive files wait than a sweep looks at: the next one goes on", "place pages"),
    _event("wakeups.lost", _WARNING, "news comes with the next round instead of at once", "reason"),
    # ---------------------------------------------------------------------------------------- who listens
    _event("lease.claimed", _INFO, "this worker listens to a stream from now on", "position_s alone", matters=True, each=True),
    _event("lease.lost", _WARNING, "another worker has it, because this one did not say in time that it lives: nothing more is published here", "reason", matters=True),
    _event("lease.left_to_expire", _ERROR, "it could not be given back at the end: others take it over when it has run out", "reason"),
    _event("session.moved", _INFO, "it is handed to a worker that has fewer", "sessions others"),
    _event("session.ended", _INFO, "a stream is over, and all of it on record", "reason heard_s gap_s", matters=True, each=True),
    _event("session.handed_over", _INFO, "a worker of the version that the catalogue has by now goes on", "reason"),
    _event("session.failed", _WARNING, "this run of it failed: there is another after a pause, of five minutes at most", "reason", matters=True),
    _event("session.refused", "error warning info", "it cannot be heard at all, and its record says why", "reason", matters=True),
    _event("session.crashed", _ERROR, "a bug ended this run of it: there is another; please report the traceback", matters=True),
    _event("session.abandoned", _ERROR, "it did not stop when the worker had to end", "after_s"),
    _event("session.alone", _WARNING, "its owner died twice: it is heard in a process of its own", "pid"),
    _event("session.died_alone", _ERROR, "and that process died: it is the stream that kills", "exitcode begun"),
    _event("session.not_on_record", _WARNING, "the database does not take what was heard: it is kept, and hearing goes on for `session.buffer_s`", "reason", matters=True),
    _event("stream.quarantined", _ERROR, "it killed its workers and is set aside: `earmark streams release` ends that", "error", matters=True),
    _event("stream.not_found", _WARNING, "it is not live any more", "reason"),
    _event("stream.given_up", _WARNING, "it is over, and its rest could not be had in many runs: that is a gap", "failures"),
    _event("stream.rest_missed", _WARNING, "it is over, and its origin lists nothing of its rest: that is a gap", "why"),
    _event("stream.state_unknown", _WARNING, "IVS does not say whether a silent stream is still live", "why"),
    _event("checkpoint.unreadable", _ERROR, "it was left by another version: the stream is set aside"),
    _event("positions.failed", _WARNING, "the database does not take where the streams are: told when it begins", "streams reason"),
    _event("database.failed", _WARNING, "it does not answer: sessions go on hearing, nothing is published; told when it begins", "reason", matters=True),
    _event("database.recovered", _INFO, "it does again"),
    _event("database.connections_scarce", _WARNING, "the server allows fewer than the settings ask for", "reason"),
    # ---------------------------------------------------------------------------------------- what comes in
    _event("rendition.chosen", _INFO, "which of a playlist's is heard", "rendition host place segments"),
    _event("playlist.failed", _WARNING, "it could not be had: told when it begins; after `session.silent_origin_s` the run fails", "why", matters=True),
    _event("playlist.expired", _INFO, "its address is not good any more: another one is asked for", "host status"),
    _event("segment.missed", _WARNING, "media that are listed and could not be had, or not be used: a gap on record", "reason sequence why", matters=True),
    _event("segment.not_decoded", _WARNING, "media that were fetched and are no sound that can be decoded: a gap on record", "failure why"),
    _event("media.missed", _WARNING, "the playlist went on without us, or says itself that there is a hole: a gap on record", "reason duration_s"),
    _event("radio.joined", _INFO, "a radio station sends", "rendition host words"),
    _event("radio.failed", _WARNING, "it does not, for now; told once in a while", "why"),
    _event("radio.rejoined", _WARNING, "it does again; told once in a while", "host away_s missed_s overlap_known"),
    _event("archive.missing", _WARNING, "an archive file never came: a gap on record", "base last"),
    _event("archive.unreadable", _WARNING, "an archive file cannot be had, or is no media: the other pipeline's is heard, or it is a gap", "key why"),
    _event("archive.pipeline_changed", _WARNING, "from here on the other pipeline's file is heard", "key"),
    _event("archive.not_compared", _INFO, "whether both pipelines' files agree could not be found out", "key why"),
    _event("archive.passed_over", _INFO, "files that came again, or are of what is on record", "files"),
    # ---------------------------------------------------------------------------------------- what IVS has recorded
    _event("recording.started", _INFO, "an event said that IVS records a channel", "place stream_ids event_id", each=True),
    _event("recording.ended", _INFO, "and that the recording is complete", "place stream_ids event_id", each=True),
    _event("recording.chosen", _INFO, "a stream is heard from its recording", "place"),
    _event("recording.absent", _WARNING, "none has turned up: the stream is played instead", "channel_arn waited_s instead"),
    _event("recording.not_looked_for", _WARNING, "AWS does not say where it would be", "channel_arn place why"),
    _event("recording.segment_missed", _WARNING, "a part of it is not there, or cannot be used", "reason place last why"),
    _event("recording.gaps", _INFO, "what a session did not hear is looked for in the recording", "place gaps segments of"),
    _event("recording.gaps_wanted", _INFO, "a sweep found a recording that fills gaps"),
    _event("recording.put_off", _INFO, "its stream is being heard again: its gaps are looked for afterwards", "parent"),
    _event("recording.interrupted", _INFO, "a recording could not be heard to its end in this run", "place why"),
    _event("gaps.heard", _INFO, "a recording is heard: what its stream's gaps are now", "gap_s heard_s"),
    # ---------------------------------------------------------------------------------------- what goes out
    _event("play.told", _INFO, "a recording was heard in a stream: the hit is on record, in this revision", "hit_id track_id state revision", matters=True, each=True),
    _event("play.heard_before", _INFO, "a recording has what is on record already", "hit_id track_id"),
    _event("play.longer", _INFO, "a play on record goes on into what was a gap", "hit_id track_id revision", each=True),
    _event("alert.withheld", _INFO, "a stream has had its alerts of this hour (`alerts.per_stream_hour_max`): the hit is on record", "hit_id withheld"),
    _event("action.asked", _INFO, "a hit asks for something to be done, now or when it is due; state dry_run or refused: nothing is; withdrawn: it does not any more", "hit_id kind state says", each=True),
    _event("action.told", _INFO, "what became of it: it was done, or there was no more reason for it", "hit_id kind state says", each=True),
    _event("action.refused", _WARNING, "it was not done: more were asked for than an hour may have, or whoever was asked refused", "hit_id kind state says"),
    _event("outbox.failed", _WARNING, "S3 or SNS did not take something: it is tried again; `dead`: no more, see `earmark outbox list`", "target key revision attempts error dead", matters=True),
    _event("outbox.crashed", _ERROR, "a bug met in sending: the row stays", "target key revision"),
    _event("outbox.database_unavailable", _WARNING, "what has to leave cannot be read", "error failures"),
    _event("outbox.unsettled", _WARNING, "what has left could not be crossed out: it is sent once more", "rows error"),
    _event("subscribers.unknown", _WARNING, "SNS does not say whether somebody reads the alerts", "reason"),
    # ---------------------------------------------------------------------------------------- the canary
    _event("canary.round", "info error", "a round of the canary is over; error: its recording was not heard as it was played, `says` is why", "round_id result says latency_s score_nats written_s claimed_s heard_s hit_s ended_s", matters=True, each=True),
    _event("canary.recording_added", _INFO, "the catalogue did not have its recording", "track_id outcome"),
    _event("canary.not_cleared", _WARNING, "rows or objects of a round are left, and go before the next", "reason"),
    _event("canary.not_run", _WARNING, "no round could be begun, or put on record: told when that begins", "what reason"),
    # ---------------------------------------------------------------------------------------- housekeeping
    _event("retention.removed", _INFO, "what is too old has gone; rows by table", "*"),
    _event("retention.failed", _WARNING, "it has not: told when it begins, and when the reason changes", "what reason"),
    # ---------------------------------------------------------------------------------------- the catalogue
    _event("catalogue.exchanged", _WARNING, "it is another version's by now: this worker hands over, and stands by", "reason"),
    _event("catalogue.standing_by", _WARNING, "it is another version's: this worker waits for its own", "worker reason"),
    _event("catalogue.taken_up", _INFO, "it is this worker's version's now", "worker stood_by_s"),
    _event("catalogue.not_seen", _WARNING, "what was added or removed is not seen for now", "reason"),
    _event("catalogue.not_kept_up", _WARNING, "its upkeep could not go on", "reason"),
    _event("catalogue.not_watched", _WARNING, "what it is like could not be read for the metrics", "what reason"),
    _event("catalogue.packed", _INFO, "new postings were packed", "postings took_s"),
    _event("catalogue.merged", _INFO, "runs of postings were merged", "postings took_s"),
    _event("catalogue.compared", _INFO, "the bucket was held against the catalogue", "place objects new changed gone"),
    _event("catalogue.removal_refused", _ERROR, "so much is gone from the bucket that nothing was removed: the reason says what to do", "reason"),
    _event("catalogue.added", _INFO, "an object is a recording of the catalogue", "key track_id took_s since_s", each=True),
    _event("catalogue.replaced", _INFO, "its recording was made anew", "key track_id took_s since_s", each=True),
    _event("catalogue.described", _INFO, "what is said of its recording has changed", "key track_id took_s since_s", each=True),
    _event("catalogue.removed", _INFO, "its recording has left the catalogue", "key track_id took_s since_s", each=True),
    _event("catalogue.linked", _INFO, "a recording is told as another one that it is the same as", "key track_id alias_of", each=True),
    _event("catalogue.rejected", _WARNING, "an object is no recording: what is wrong stands beside it", "key reason reasons", each=True),
    _event("catalogue.isrc_clash", _WARNING, "two recordings that differ have one ISRC", "key track_id reason"),
    _event("catalogue.postponed", _WARNING, "an object could not be taken in now: it is tried again", "key attempts reason"),
    _event("catalogue.crashed", _ERROR, "a bug met in taking an object in", "key"),
    _event("catalogue.not_noticed", _WARNING, "what was found out about an object could not be written beside it", "key reason"),
    _event("catalogue.not_taken_up", _WARNING, "what is to be taken in could not be asked for", "job reason"),
    _event("catalogue.not_profiled", _WARNING, "what recordings are like could not be found out now", "what reason"),
    _event("catalogue.profile_crashed", _ERROR, "a bug met in finding out what a recording is like", "track_id"),
    _event("evidence.clip_left_out", _WARNING, "a play has no clip: it could not be encoded, or too many wait for S3", "hit_id reason"),
    _event("decoys.left_out", _WARNING, "minutes of a stream that were to be heard backwards are not: the database is away", "seconds reason"),
    _event("decoys.failed", _ERROR, "a bug met in hearing decoys: the daemon goes on without"),
    _event("formats.missing", _WARNING, "a copy that should be in the bucket is not", "url"),
    _event("formats.postponed", _WARNING, "a copy could not be made now: it is tried again", "key attempts reason"),
    _event("formats.not_made", _WARNING, "what copies are to be made could not be asked for", "job reason"),
    _event("formats.crashed", _ERROR, "a bug met in making copies", "key"),
    # ---------------------------------------------------------------------------------------- the API
    _event("api.listening", _INFO, "the HTTP API answers", "host port uploads"),
    _event("api.request", _INFO, "a request was answered", "route path status took_ms received_bytes sent_bytes token address problem reason", each=True),
    _event("api.failed", "warning error", "a request could not be answered for a reason of ours", "reason"),
    _event("api.not_drained", _WARNING, "requests were cut off at the end", "waited_s"),
    _event("api.uploads_not_tidied", _WARNING, "uploads that nobody finished could not be removed", "reason"),
    _event("api.uploads_removed", _INFO, "uploads that nobody finished were removed", "uploads"),
)  # fmt: skip

BY_NAME: Final = {event.name: event for event in EVENTS}
#: Events that are never held back, however often they come.
EACH: Final = frozenset(event.name for event in EVENTS if event.each)
