-- A small university: some 100,000 rows in tables that hold what makes dumps hard to read.
--
-- Loaded into an empty database in one transaction: psql -1 -v ON_ERROR_STOP=1 -d NAME <seed.sql
-- PostgreSQL 13 to 18. The same rows every time: no random(), no now(), no OID left to chance.

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET check_function_bodies = on;
SET client_min_messages = warning;

-- psql 13 would end a BEGIN ATOMIC body at its first semicolon, and so would a server before 14.
SELECT :VERSION_NUM >= 140000 AND current_setting('server_version_num')::int >= 140000 AS atomic \gset
SELECT count(*) > 0 AS citext FROM pg_available_extensions WHERE name = 'citext' \gset
SELECT count(*) > 0 AS hstore FROM pg_available_extensions WHERE name = 'hstore' \gset

-- Roles belong to the whole server: made where absent, never changed, never dropped.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['university_staff', 'university_registrar', 'university "read only"'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role);
        END IF;
    END LOOP;
    IF NOT pg_has_role('university_registrar', 'university_staff', 'member') THEN
        GRANT university_staff TO university_registrar;
    END IF;
END
$$;

\if :citext
CREATE EXTENSION citext;
\set email citext
\else
\set email text
\endif
\if :hstore
CREATE EXTENSION hstore;
\set properties hstore
\else
\set properties text
\endif

------------------------------------------------------------------------------------------------
-- Types and sequences

CREATE SCHEMA archive;
CREATE SCHEMA "Old; Records";
COMMENT ON SCHEMA "Old; Records" IS E'A comment with ''quotes'', a \\backslash\\,\na second line; and -- dashes';

CREATE TYPE term AS ENUM ('winter', 'summer', 'it''s "special"; \.');
CREATE TYPE address AS (street text, "house no" text, town text);
CREATE DOMAIN points AS numeric(4, 1) CHECK (VALUE BETWEEN 0 AND 100);

CREATE SEQUENCE receipt_no START 1000 INCREMENT 7;
SELECT setval('receipt_no', 4242);
CREATE SEQUENCE "Countdown" AS smallint INCREMENT -1 MINVALUE 1 MAXVALUE 500 START 500 CYCLE;
SELECT setval('"Countdown"', 17, false);

-- Texts that a reader of dumps can stumble over; 0 to 23.
CREATE FUNCTION odd_text(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
    SELECT (ARRAY[
        'plain', '', NULL, E'a\ttab', E'two\nlines', E'carriage\rreturn', E'both\r\n', E'back\\slash',
        '\.', '\N', 'NULL', E'\n\\.\n', '''single''', '"double"', '$$dollar$$', ';', '-- not a comment',
        '/* nor this', '\connect postgres', 'COPY public.students (id) FROM stdin;',
        '-- PostgreSQL database dump complete', E'\b\f\x0b\x01\x7f', '  blanks at both ends  ', E'\\t is no tab\\'
    ])[1 + n % 24]
$body$;

CREATE FUNCTION given_name(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $body$
    SELECT (ARRAY[
        'Ada', 'Zoë', 'Søren', 'Łukasz', 'Ñusta', 'Đặng', 'Οδυσσέας', 'Олена', 'Գոհար', 'თამარ', 'שרה', 'محمد',
        'सीता', 'ตะวัน', '李', 'さくら', '지우', E'Zoe\u0308', '👩‍🎓', '🏳️‍🌈', '𝔄𝔡𝔞', 'O''Brien', 'D"Arcy', E'\u200BInvisible'
    ])[1 + n % 24]
$body$;

------------------------------------------------------------------------------------------------
-- Tables

CREATE TABLE students (
    id bigint GENERATED ALWAYS AS IDENTITY (START 1 INCREMENT 1) PRIMARY KEY,
    given_name text NOT NULL,
    family_name text NOT NULL,
    full_name text GENERATED ALWAYS AS (given_name || ' ' || family_name) STORED,
    email :email UNIQUE,
    born date,
    home address,
    languages text[] NOT NULL DEFAULT '{}',
    profile jsonb,
    photo bytea,
    note text,
    mentor_id bigint REFERENCES students DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO students (given_name, family_name, email, born, home, languages, profile, photo, note, mentor_id)
SELECT given_name(n), initcap(substr(md5('family' || n), 1, 4 + n % 9)),
    'Student' || n || '@university.example',
    CASE WHEN n % 50 > 0 THEN date '1970-01-01' + (n * 7 % 12000) END,
    CASE n % 4 WHEN 0 THEN NULL
        ELSE ROW(odd_text(n / 4), n % 200 || chr(97 + n % 26), CASE n % 3 WHEN 0 THEN 'Zürich, (CH)' ELSE '' END)::address END,
    CASE n % 5 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['de', NULL, 'NULL', '']
        WHEN 2 THEN ARRAY['a "quoted" one', 'with, comma', '{brace}', E'back\\slash', E'tab\there']
        ELSE ARRAY['en', given_name(n + 7)] END,
    CASE n % 6 WHEN 0 THEN NULL WHEN 1 THEN 'null' WHEN 2 THEN '{}'
        ELSE jsonb_build_object('n', n, 'odd', odd_text(n), 'list', jsonb_build_array(1.50, true, NULL, 'ü"\'),
            'deep', jsonb_build_object('key with "quotes"', E'line\nbreak')) END,
    CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN ''
        ELSE decode(md5('photo' || n), 'hex') || '\x005c2e0a'::bytea END,
    odd_text(n),
    CASE WHEN n > 100 AND n % 10 = 0 THEN n - 100 END
FROM generate_series(1, 8000) n;
COMMENT ON TABLE students IS 'People; COPY public.students FROM stdin;';
COMMENT ON COLUMN students.note IS E'anything:\n\\.\nand more';

CREATE TABLE courses (
    id serial PRIMARY KEY,
    code varchar(12) NOT NULL UNIQUE,
    title text NOT NULL,
    credits smallint NOT NULL CHECK (credits > 0),
    fee numeric(12, 2) NOT NULL DEFAULT 0,
    hours int4range,
    weight double precision,
    properties :properties,
    about json
);
INSERT INTO courses (code, title, credits, fee, hours, weight, properties, about)
SELECT 'C-' || lpad(n::text, 4, '0'), 'Course ' || n || coalesce(': ' || odd_text(n), ''), 1 + n % 12, n * 1234.56,
    CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 'empty' ELSE int4range(n::int, (n + 90)::int) END,
    CASE n % 6 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN '1e-300' ELSE n / 7.0::double precision END,
    CAST(CASE n % 3 WHEN 0 THEN NULL ELSE '"a => b"=>"it\"s", "none"=>NULL' END AS :properties),
    CASE n % 9 WHEN 0 THEN E'{"kept" : "as it\\u0027s",\n "twice": 1, "twice": 2}'::json END
FROM generate_series(1, 500) n;

CREATE TABLE enrolments (
    student_id bigint NOT NULL REFERENCES students,
    course_id int NOT NULL REFERENCES courses,
    term term NOT NULL,
    receipt bigint NOT NULL DEFAULT nextval('receipt_no'),
    enrolled timestamptz NOT NULL,
    took interval,
    ticket uuid,
    PRIMARY KEY (student_id, course_id)
);
INSERT INTO enrolments
SELECT 1 + n % 8000, 1 + (n * 13 + n / 8000 * 101) % 500, (ARRAY['winter', 'summer', 'it''s "special"; \.'])[1 + n % 3]::term,
    10000 + n * 7, timestamptz '2001-02-03 04:05:06.789+00' + n * interval '3 hours 1.000001 seconds',
    CASE WHEN n % 4 > 0 THEN n * interval '1 minute' END, md5('ticket' || n)::uuid
FROM generate_series(0, 44999) n;

CREATE TABLE grades (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    student_id bigint NOT NULL,
    course_id int NOT NULL,
    points points,
    passed boolean,
    remark text,
    revision int NOT NULL DEFAULT 0,
    FOREIGN KEY (student_id, course_id) REFERENCES enrolments
);
INSERT INTO grades (student_id, course_id, points, passed, remark)
SELECT student_id, course_id, p, p >= 50, odd_text(receipt / 7)
FROM (SELECT *, CASE WHEN receipt % 11 > 0 THEN receipt * 37 % 1001 / 10.0 END AS p FROM enrolments) e
WHERE receipt % 9 > 0
ORDER BY receipt;
CREATE INDEX grades_odd ON grades (points DESC NULLS LAST, (lower(remark))) WHERE remark <> '\.';

-- Partitions by range, one of them by list again, and one without rows.
CREATE TABLE attendance (day date NOT NULL, student_id bigint NOT NULL, room text, present boolean DEFAULT true)
    PARTITION BY RANGE (day);
CREATE TABLE attendance_2024 PARTITION OF attendance FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE attendance_2025 PARTITION OF attendance FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (room);
CREATE TABLE attendance_2025_hall PARTITION OF attendance_2025 FOR VALUES IN ('hall', 'Aula "Ö"');
CREATE TABLE attendance_2025_rest PARTITION OF attendance_2025 DEFAULT;
CREATE TABLE archive.attendance_old PARTITION OF attendance DEFAULT;
CREATE INDEX ON attendance (student_id);
INSERT INTO attendance
SELECT date '2024-01-01' + (n * 11 % 730)::int, 1 + n * 17 % 8000, (ARRAY['hall', 'Aula "Ö"', 'B;1', NULL])[1 + n % 4], n % 6 > 0
FROM generate_series(1, 12000) n;

-- Rows without columns: COPY writes them as empty lines.
CREATE TABLE arrivals ();
INSERT INTO arrivals SELECT FROM generate_series(1, 7);

-- Names that look like a dump's own comments and commands.
CREATE TABLE "a; Type: TABLE; Schema: b" (
    "id" int PRIMARY KEY,
    "say ""hi"";
-- a second line" text,
    "tab	and \backslash" text DEFAULT E'\\.',
    "select" text,
    "Straße" text
);
INSERT INTO "a; Type: TABLE; Schema: b"
SELECT n, odd_text(n), odd_text(n + 1), odd_text(n + 2), given_name(n) FROM generate_series(1, 48) n;
COMMENT ON COLUMN "a; Type: TABLE; Schema: b"."say ""hi"";
-- a second line" IS '-- Data for Name: grades; Type: TABLE DATA; Schema: public; Owner: postgres';
CREATE TABLE "Old; Records"."line one
COPY public.grades (id) FROM stdin;
\." (one "char", "two words" oid, three bit varying(9), four inet, five tsvector, six macaddr);
INSERT INTO "Old; Records"."line one
COPY public.grades (id) FROM stdin;
\."
SELECT chr(65 + n)::"char", 4000000000 + n, (n % 8)::bit(3), ('10.0.0.' || n)::inet, to_tsvector('simple', 'it''s a ' || n), ('08:00:2b:01:02:' || lpad(n::text, 2, '0'))::macaddr
FROM generate_series(0, 25) n;

CREATE UNLOGGED TABLE logins (id int GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 10), who text DEFAULT current_user);
INSERT INTO logins (who) SELECT given_name(n) FROM generate_series(1, 100) n;
CREATE TABLE people_like (LIKE students INCLUDING DEFAULTS);
CREATE TABLE archive.alumni (left_on date) INHERITS (people_like);
INSERT INTO archive.alumni (id, given_name, family_name, left_on)
SELECT n, given_name(n), odd_text(0), date '2000-01-01' + n::int FROM generate_series(1, 60) n;
-- Lines of a megabyte.
CREATE TABLE theses (student_id bigint PRIMARY KEY REFERENCES students, body text, scan bytea);
INSERT INTO theses
SELECT n, repeat(E'Lorem \\ ipsum\t' || md5(n::text) || E'\n', 22000), decode(repeat(md5('scan' || n), 16000), 'hex')
FROM generate_series(1, 2) n;

------------------------------------------------------------------------------------------------
-- Views, functions, triggers, rules

CREATE VIEW transcript AS
SELECT s.id, s.full_name, c.title, g.points, g.remark
FROM grades g JOIN students s ON s.id = g.student_id JOIN courses c ON c.id = g.course_id
WHERE g.remark IS DISTINCT FROM E'a;\n\\.' ;
CREATE MATERIALIZED VIEW course_results AS
SELECT course_id, count(*) AS graded, round(avg(points), 3) AS average FROM grades GROUP BY course_id ORDER BY course_id;
CREATE UNIQUE INDEX ON course_results (course_id);

-- For a reader that goes by lines, this body ends the table, the database and the dump.
CREATE FUNCTION trap(n int) RETURNS text LANGUAGE plpgsql STABLE AS $trap$
BEGIN
    /* COPY public.grades (id) FROM stdin; /* nested */ $$ not the end $$
\connect x
\.
    */
    RETURN 'text
\.
COPY public.grades (id, student_id) FROM stdin;
1	1
\.
\connect x
\unrestrict x
--
-- PostgreSQL database dump complete
--
' || n || $$;'$$;
END;
$trap$;
COMMENT ON FUNCTION trap(int) IS '-- PostgreSQL database cluster dump complete
--
\connect template1
DROP TABLE grades;';

\if :atomic
CREATE FUNCTION forget_logins(before int) RETURNS bigint LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM logins WHERE id < before;
    INSERT INTO logins (who) VALUES ('forgotten; BEGIN ATOMIC END;');
    SELECT CASE WHEN count(*) > 0 THEN count(*) ELSE 0 END FROM logins;
END;
\endif

CREATE PROCEDURE archive.tidy() LANGUAGE sql AS 'DELETE FROM logins WHERE who = ''it''''s \'';';
CREATE AGGREGATE longest(text) (sfunc = textcat, stype = text, initcond = '');

CREATE FUNCTION count_revision() RETURNS trigger LANGUAGE plpgsql AS '
BEGIN
    NEW.revision := OLD.revision + 1;  -- it''s counted; \\.
    RETURN NEW;
END';
CREATE TRIGGER "grades; revision" BEFORE UPDATE ON grades FOR EACH ROW
    WHEN (OLD.points IS DISTINCT FROM NEW.points) EXECUTE FUNCTION count_revision();

CREATE TABLE log (line text, at timestamptz DEFAULT '2020-02-02 02:02:02+00');
INSERT INTO log SELECT odd_text(n) FROM generate_series(0, 23) n;
CREATE RULE log_login AS ON UPDATE TO logins DO ALSO (
    INSERT INTO log (line) VALUES ('login ' || OLD.id || '; changed');
    INSERT INTO log (line) VALUES (E'to:\n' || NEW.who)
);

------------------------------------------------------------------------------------------------
-- Large objects (lines of 32 KB of hexadecimal in a dump), rights, settings

SELECT lo_from_bytea(424242, decode((SELECT string_agg(md5('page' || n), '' ORDER BY n) FROM generate_series(1, 8000) n), 'hex'));
SELECT lo_from_bytea(424243, '\x5c2e0a00'::bytea);
SELECT lo_create(424244);
COMMENT ON LARGE OBJECT 424242 IS 'the seal; it''s large';

GRANT SELECT, UPDATE ON LARGE OBJECT 424242 TO university_staff;
GRANT USAGE ON SCHEMA archive, "Old; Records" TO university_staff;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO "university ""read only""";
GRANT SELECT (id, full_name), UPDATE (note) ON students TO university_staff;
GRANT INSERT, UPDATE ON grades TO university_registrar WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE receipt_no TO university_registrar;
REVOKE EXECUTE ON FUNCTION trap(int) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA archive GRANT SELECT ON TABLES TO university_staff;
ALTER TABLE archive.alumni OWNER TO university_registrar;

ALTER TABLE grades ENABLE ROW LEVEL SECURITY;
CREATE POLICY "own; grades" ON grades FOR SELECT TO university_staff USING (remark <> '\.' AND student_id > 0);
CREATE STATISTICS grades_together (dependencies) ON student_id, course_id FROM grades;
ALTER TABLE grades ALTER COLUMN remark SET STATISTICS 200;

DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, archive', current_database());
    EXECUTE format('ALTER ROLE university_staff IN DATABASE %I SET work_mem = ''5MB''', current_database());
    -- By this comment dev-seed knows the database as one that it may drop.
    EXECUTE format('COMMENT ON DATABASE %I IS ''university, seeded by pgkeep''', current_database());
END
$$;
