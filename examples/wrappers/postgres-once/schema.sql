SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now());
INSERT INTO starts DEFAULT VALUES;
SELECT 'start ' || count(*) FROM starts;
