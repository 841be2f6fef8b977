-- Radio over plain HTTP, files that are checked, and recordings that IVS makes of its streams.
-- oldest-daemon: 6

alter table stream drop constraint stream_source_check;
alter table stream add constraint stream_source_check check (source in ('ivs', 'medialive', 'hls', 'radio', 'file', 'recording'));
