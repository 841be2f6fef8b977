-- A stream's end is told by mail once, and again only if there is more to tell: it may begin anew, or its recording fill gaps.
-- oldest-daemon: 6
--
-- What the last digest told of, as a sum, in the transaction that queued it: who commits the end a second time, because the
-- answer was lost or the stream was taken over, finds it here.

alter table stream add column digest_of text;   -- SHA-256 of the plays; null: there was none
