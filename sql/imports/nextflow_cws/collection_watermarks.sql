select
    getvariable('cluster') as cluster,
    make_timestamp(end_ms * 1000) as observed_through_at
from bounds
