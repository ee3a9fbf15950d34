-- Clusters of pages with one content: the part that both engines run. Decision 19 says why so.
--
-- A statement follows its "-- name:" line; :values are given by clusters.py. Where DuckDB and Spark
-- have different words, duckdb.sql and spark.sql have them: how pages are numbered, and
-- differing(a, b), in how many of its hex digits one sketch differs from another.
--
-- staged      the stored pages: source, workspace, day, page_id, fetched (us), content_digest,
--             text_digest, minhash, cluster_id, is_representative
-- pages       the same with an id, in the order in which they may represent others
-- sketches    id, workspace, sketch (hex): the first page with each sketch
-- edges       a, b: pages with one content, b < a. Settled: each a once, and no b is an a
-- candidates  a, b: pages whose sketches are to be compared
-- changes     source, day, page_id, cluster_id, is_representative: what is to be written

-- name: sketches
CREATE TABLE sketches AS
SELECT min(id) AS id, workspace, hex(minhash) AS sketch
FROM pages
WHERE minhash IS NOT NULL
GROUP BY workspace, minhash

-- name: equal
-- Equality is transitive, so the first page of each value stands for all of them.
CREATE TABLE edges AS
WITH payloads AS (
    SELECT workspace, content_digest AS value, min(id) AS first
    FROM pages WHERE content_digest IS NOT NULL
    GROUP BY workspace, content_digest HAVING count(*) > 1
), texts AS (
    SELECT workspace, text_digest AS value, min(id) AS first
    FROM pages WHERE text_digest IS NOT NULL
    GROUP BY workspace, text_digest HAVING count(*) > 1
), prints AS (
    SELECT workspace, minhash AS value, min(id) AS first
    FROM pages WHERE minhash IS NOT NULL
    GROUP BY workspace, minhash HAVING count(*) > 1
)
SELECT p.id AS a, g.first AS b
FROM pages p JOIN payloads g ON p.workspace = g.workspace AND p.content_digest = g.value
WHERE p.id > g.first
UNION
SELECT p.id AS a, g.first AS b
FROM pages p JOIN texts g ON p.workspace = g.workspace AND p.text_digest = g.value
WHERE p.id > g.first
UNION
SELECT p.id AS a, g.first AS b
FROM pages p JOIN prints g ON p.workspace = g.workspace AND p.minhash = g.value
WHERE p.id > g.first

-- name: empty
CREATE TABLE candidates (a BIGINT, b BIGINT)

-- name: candidates
-- One band: pages whose sketches agree in :width digits from :start on share a bucket. The first
-- :centres pages of a bucket are compared with all that come after them: all pairs of a small
-- bucket, a bounded number per page of a giant one. Pages already known to be of one content are
-- not compared, and of each such group the first page comes before the second of any other.
INSERT INTO candidates
WITH banded AS (
    SELECT s.id, s.workspace, substr(s.sketch, :start, :width) AS band, coalesce(e.b, s.id) AS label
    FROM sketches s LEFT JOIN edges e ON e.a = s.id
), mixed AS (
    SELECT workspace, band
    FROM banded
    GROUP BY workspace, band HAVING min(label) < max(label)
), numbered AS (
    SELECT x.id, x.workspace, x.band, x.label,
        row_number() OVER (PARTITION BY x.workspace, x.band, x.label ORDER BY x.id) AS nth
    FROM banded x JOIN mixed m ON x.workspace = m.workspace AND x.band = m.band
), placed AS (
    SELECT id, workspace, band, label,
        row_number() OVER (PARTITION BY workspace, band ORDER BY nth, id) AS place
    FROM numbered
)
SELECT greatest(c.id, o.id) AS a, least(c.id, o.id) AS b
FROM placed c JOIN placed o ON c.workspace = o.workspace AND c.band = o.band
WHERE c.place <= :centres AND o.place > c.place AND c.label <> o.label

-- name: verified
INSERT INTO edges
WITH pairs AS (SELECT DISTINCT a, b FROM candidates)
SELECT p.a, p.b
FROM pairs p JOIN sketches x ON x.id = p.a JOIN sketches y ON y.id = p.b
WHERE differing(x.sketch, y.sketch) <= :most

-- name: compared
DROP TABLE candidates

-- name: settled
SELECT count(*) = count(DISTINCT a) AND
    (SELECT count(*) FROM edges WHERE b IN (SELECT a FROM edges)) = 0
FROM edges

-- name: large_star
-- Each page links its larger neighbours to its least one.
CREATE TABLE next AS
WITH both_ways AS (
    SELECT a AS v, b AS u FROM edges
    UNION ALL
    SELECT b AS v, a AS u FROM edges
), leasts AS (
    SELECT v, least(v, min(u)) AS m FROM both_ways GROUP BY v
)
SELECT DISTINCT w.u AS a, l.m AS b
FROM both_ways w JOIN leasts l ON w.v = l.v
WHERE w.u > w.v

-- name: small_star
-- Each page links itself and its lesser neighbours to the least one.
CREATE TABLE next AS
WITH leasts AS (
    SELECT a, min(b) AS m FROM edges GROUP BY a
)
SELECT a, m AS b FROM leasts
UNION
SELECT e.b AS a, l.m AS b
FROM edges e JOIN leasts l ON e.a = l.a
WHERE e.b > l.m

-- name: forget_edges
DROP TABLE edges

-- name: next_edges
ALTER TABLE next RENAME TO edges

-- name: changes
-- A cluster is called after its representative, and not by that page's id alone: crawls of one job
-- name, kept apart, have the same ids for different visits.
CREATE TABLE changes AS
WITH found AS (
    SELECT p.source, p.day, p.page_id, p.cluster_id AS old_cluster, p.is_representative AS old_place,
        md5(concat(r.page_id, '@', r.fetched)) AS cluster_id, p.id = r.id AS is_representative
    FROM pages p LEFT JOIN edges e ON e.a = p.id JOIN pages r ON r.id = coalesce(e.b, p.id)
)
SELECT source, day, page_id, cluster_id, is_representative
FROM found
WHERE cluster_id IS DISTINCT FROM old_cluster OR is_representative IS DISTINCT FROM old_place

-- name: summary
SELECT (SELECT count(*) FROM pages), count(*), coalesce(sum(size), 0), coalesce(max(size), 0)
FROM (SELECT count(*) AS size FROM edges GROUP BY b) AS clusters

-- name: days
SELECT source, day, count(*) FROM changes GROUP BY source, day ORDER BY source, day

-- name: marks
SELECT page_id, cluster_id, is_representative
FROM changes
WHERE source = :source AND day = :day
