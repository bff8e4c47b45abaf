{#- A clean CSV into a table shaped like trips. -#}
INSERT INTO {{ target }} ({{ columns | join(", ") }}, upload, upload_etag)
SELECT {{ columns | join(", ") }}, {{ literal(upload) }}, {{ literal(upload_etag) }}
FROM {{ source }}
