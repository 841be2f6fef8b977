-- Which stretches of a recording are in another recording of the catalogue too: what they prove is the sound, not the recording.
-- oldest-daemon: 2

alter table track add column compared_no int;  -- the track_no under which it was compared with the others; another one, or null: not yet

create table shared_passage (                 -- each pair has rows of both: (one, other) and (other, one)
  track_no      int not null references track on delete cascade,  -- replaced ones are forgotten before they get another number
  other_no      int not null references track on delete cascade,
  begin_frame   int not null,                 -- of track_no
  end_frame     int not null,
  eighth_frames int[] not null,               -- which of its peaks there the other one has too, by their times in eighths of a frame
  version       boolean not null,             -- the two are issues of one recording: nothing is taken from either
  evidence_nats real not null,                -- of the pair's best stretch
  primary key (track_no, other_no, begin_frame),
  check (begin_frame < end_frame and track_no <> other_no)
);
create index shared_passage_other on shared_passage (other_no);
