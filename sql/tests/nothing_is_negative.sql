-- guards: no consumer pays less than nothing, and no part used is larger than what was paid
select *
from {{ touched('machine_pod_hours') }}
where
    cpu_nano < 0 or memory_nano < 0 or gpu_nano < 0
    or cpu_millicore_ms < 0 or memory_byte_ms < 0 or gpu_milligpu_ms < 0
    or cpu_used_nano < 0 or memory_used_nano < 0
    or cpu_unmetered_nano < 0 or memory_unmetered_nano < 0
    or cpu_used_nano + cpu_unmetered_nano > cpu_nano or memory_used_nano + memory_unmetered_nano > memory_nano
