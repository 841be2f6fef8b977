"""What the daemon says about the catalogue: look-ups, size, upkeep, how far behind it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from earmark.telemetry.declared import metric

#: A look-up is expected within milliseconds, and cancelled after database.statement_timeout_s (15 s).
LOOKUP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
#: Look-ups that wait for one turn: at most one of each session.
_QUESTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class CatalogueMetrics:
    """The metrics of `index`, a part of `Metrics`."""

    lookups_total: Counter = metric("Look-ups sent to the catalogue.", "Compare with media_seconds_total: about one for each second heard.")
    lookup_hashes_total: Counter = metric("Hashes asked for.", "About 160 for each second heard without an open play, 5 to 75 with one.")
    lookup_seconds: Histogram = metric(
        "Seconds that a look-up took, waiting for a connection included.", "Above 0.25 s: database load, or an index that is not in memory.", buckets=LOOKUP_S
    )
    lookup_turns_total: Counter = metric(
        "Turns in which this process asked the database, each for all sessions whose look-ups waited.",
        "Far fewer than lookups_total: look-ups wait for one another; see lookup_turn_questions.",
    )
    lookup_turn_questions: Histogram = metric(
        "Look-ups of sessions that one turn put together.",
        "1: nobody waits. Nearly as many as there are streams: the database answers more slowly than they ask; see lookup_seconds.",
        buckets=_QUESTIONS,
    )
    lookup_stopped_hashes_total: Counter = metric(
        "Hashes that turns did not ask for, because they are on the stop list.",
        "A quarter of lookup_hashes_total and more (an eighth is usual): much of what is heard is in very many recordings, or is tones and silence.",
    )
    postings_total: Counter = metric(
        "Postings that look-ups brought back.",
        "About 10 for each hundred recordings and second heard. Many more: hashes that are too common; see `earmark db status`.",
    )
    verified_total: Counter = metric("Passages of recordings fetched to be verified.", "Many, and few hits: chance votes; verification is the dearest stage.")
    standing_by: Gauge = metric(
        "1: this worker listens to nothing, since the catalogue is of another version of the fingerprint than it makes.",
        "Before `earmark catalogue switch` of the new workers, after it of the old ones until they are gone; else: a deployment without it.",
    )
    catalogue_tracks: Gauge = metric("Recordings in the catalogue.", "0: nothing can be heard; `earmark catalogue add`.")
    catalogue_seconds: Gauge = metric(
        "Seconds of recordings in the catalogue.", "Falling while nothing is removed: somebody does; `earmark catalogue list` says what is left."
    )
    catalogue_postings: Gauge = metric(
        "Postings of the recordings in the catalogue.",
        "The more there are, the more memory the database needs: see catalogue_bytes and catalogue_cache_hit_ratio.",
    )
    catalogue_fresh_postings: Gauge = metric(
        "Postings that are not packed into a run yet, or were a minute ago; this process holds them in memory.",
        "Above 10,000,000, or growing for hours: nobody packs; look for catalogue.not_kept_up in the logs.",
    )
    catalogue_runs: Gauge = metric(
        "Runs, each of which a look-up asks.", "More than ten while nothing is added: merging falls behind; raise catalogue.upkeep_share_max."
    )
    catalogue_merge_done_ratio: Gauge = metric(
        "How much of the merge that is under way is done, 0 to 1; 1 when none is.",
        "Below 1, and the same for an hour: nobody merges; look for catalogue.not_kept_up in the logs.",
    )
    catalogue_bytes: Gauge = metric(
        "Bytes of the catalogue on the database's disk, indexes and free space included, by part.",
        "postings beyond the database's memory: look-ups wait for the disk; see catalogue_cache_hit_ratio.",
        labels={"part": ("postings", "constellations", "other")},
    )
    catalogue_cache_hit_ratio: Gauge = metric(
        "Share of the pages of postings and constellations that the database had in its own memory when they were read, in the last minute, 0 to 1.",
        "Below 0.9 while lookup_seconds is above 0.25 s: give the database more memory.",
    )
    catalogue_stopped_hashes: Gauge = metric(
        "Hashes on the stop list: in too many recordings to tell any.",
        "Many more at once: the same audio was added under many names, or tones and silence were.",
    )
    catalogue_followed_age_seconds: Gauge = metric(
        "Seconds since this process last saw which recordings there are; it looks every second.",
        "Above 10: the database, or its reader, does not answer; what is added is not heard.",
    )
    catalogue_replica_lag_seconds: Gauge = metric(
        "Seconds by which the server that answers look-ups is behind the primary; 0 if it is the primary, NaN if it does not say.",
        "Above 60: what is added is heard that much later; the reader is too small, or its connection to the primary is cut.",
    )
    upkeep_seconds_total: Counter = metric(
        "Seconds that this process spent packing and merging the catalogue.",
        "Growing all the time while nothing is added: `earmark db status`; raise catalogue.upkeep_share_max if it falls behind.",
        labels={"did": ("packed", "merged")},
    )
    upkeep_postings_total: Counter = metric(
        "Postings that this process packed, or moved in merges.", "Merged over packed is what growth costs: about ten.", labels={"did": ("packed", "merged")}
    )
    catalogue_damaged_rows_total: Counter = metric(
        "Rows of the catalogue that were not what had been written, found by merges and left out.",
        "Any: somebody edits tables by hand, or the disk is failing; `earmark db check` finds what is still there.",
    )

    def kept_up(self, did: str, *, postings: int, damaged: int, took_s: float) -> None:
        self.upkeep_seconds_total.labels(did).inc(took_s)
        self.upkeep_postings_total.labels(did).inc(postings)
        self.catalogue_damaged_rows_total.inc(damaged)

    def answered(self, *, hashes: int, postings: int, seconds: float) -> None:
        self.lookups_total.inc()
        self.lookup_hashes_total.inc(hashes)
        self.lookup_seconds.observe(seconds)
        self.postings_total.inc(postings)

    def verified(self, *, passages: int) -> None:
        self.verified_total.inc(passages)

    def looked_up(self, *, questions: int, stopped: int) -> None:
        self.lookup_turns_total.inc()
        self.lookup_turn_questions.observe(questions)
        self.lookup_stopped_hashes_total.inc(stopped)

    def glanced(self, *, runs: int, merge_done: float, part_bytes: Mapping[str, int], cache_hits: float | None, standby: bool, lag_s: float | None) -> None:
        self.catalogue_runs.set(runs)
        self.catalogue_merge_done_ratio.set(merge_done)
        for part, size in part_bytes.items():
            self.catalogue_bytes.labels(part).set(size)
        if cache_hits is not None:  # else nothing was read, and it is as it was
            self.catalogue_cache_hit_ratio.set(cache_hits)
        self.catalogue_replica_lag_seconds.set(0 if not standby else math.nan if lag_s is None else lag_s)
