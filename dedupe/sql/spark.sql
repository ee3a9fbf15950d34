-- What Spark has words of its own for.

-- name: functions
-- Eight hex digits at a time: the bits that differ, gathered in the lowest bit of each digit.
CREATE TEMPORARY FUNCTION differing(a STRING, b STRING) RETURNS INT RETURN
aggregate(
    transform(
        sequence(1, length(a), 8),
        i -> conv(substr(a, i, 8), 16, 10)::BIGINT ^ conv(substr(b, i, 8), 16, 10)::BIGINT
    ),
    0,
    (n, x) -> n + bit_count(
        (x | shiftright(x, 1) | shiftright(x, 2) | shiftright(x, 3)) & 286331153L
    )
)

-- name: pages
-- The ids have gaps, but rise with the order of the rows.
CREATE TABLE pages AS
SELECT monotonically_increasing_id() AS id, *
FROM (SELECT * FROM staged ORDER BY fetched, page_id, source)
