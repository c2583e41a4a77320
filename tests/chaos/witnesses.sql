-- Independent witnesses in the database: whoever writes with a stale epoch, after a cancel or after the end, is noted.
CREATE TABLE IF NOT EXISTS chaos_violations (
    at timestamptz DEFAULT clock_timestamp(), job_id uuid, what text);
CREATE OR REPLACE FUNCTION chaos_watch_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('succeeded', 'failed', 'cancelled') AND (NEW.state <> OLD.state OR NEW.epoch <> OLD.epoch) THEN
        INSERT INTO chaos_violations (job_id, what) VALUES (OLD.id, 'it had ended: ' || OLD.state || ', ' || NEW.state);
    END IF;
    IF NEW.epoch < OLD.epoch THEN
        INSERT INTO chaos_violations (job_id, what) VALUES (OLD.id, 'the epoch fell');
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION chaos_watch_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE job record; written text;
BEGIN
    SELECT state, epoch, cancel_requested INTO job FROM jobs WHERE id = NEW.job_id;
    IF TG_TABLE_NAME = 'models' THEN
        IF TG_OP = 'UPDATE' AND NEW.blob_key = OLD.blob_key THEN RETURN NEW; END IF;  -- only marked as final
        written := split_part(NEW.blob_key, '/', 3);
    ELSE
        written := substring(NEW.blob_key from '-([0-9]+)[.]zip$');
    END IF;
    IF job.state <> 'running' OR job.cancel_requested OR (written IS NOT NULL AND written::int <> job.epoch) THEN
        INSERT INTO chaos_violations (job_id, what) VALUES (NEW.job_id,
            concat_ws(' ', TG_TABLE_NAME, 'written for epoch', written, 'at', job.epoch, job.state));
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER chaos_job BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION chaos_watch_job();
CREATE OR REPLACE TRIGGER chaos_model BEFORE INSERT OR UPDATE ON models
    FOR EACH ROW EXECUTE FUNCTION chaos_watch_write();
CREATE OR REPLACE TRIGGER chaos_tell BEFORE UPDATE ON trials FOR EACH ROW EXECUTE FUNCTION chaos_watch_write();
