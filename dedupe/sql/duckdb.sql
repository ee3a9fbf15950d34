-- What DuckDB has words of its own for.

-- name: functions
CREATE MACRO differing(a, b) AS hamming(a, b)

-- name: pages
CREATE TABLE pages AS
SELECT row_number() OVER () AS id, *
FROM (SELECT * FROM staged ORDER BY fetched, page_id, source)
