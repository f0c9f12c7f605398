-- Runs of executors that do not answer wait, and those behind them are found without walking over them. The executor
-- is part of the spec.
CREATE INDEX runs_queue_by_spec ON runs (spec, priority DESC, not_before, id) WHERE state = 0;
