"""An application on executors of their own: writes its event log, and says what Spark's API told of it at its end."""

import json
import sys
import urllib.request

from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local-cluster[2,1,1024]")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", "file://" + sys.argv[1])
    .config("spark.executor.memory", "512m")
    .config("spark.executor.processTreeMetrics.enabled", "true")
    .config("spark.executor.metrics.pollingInterval", "100ms")
    .config("spark.ui.port", "0")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
context = spark.sparkContext
spark.range(0, 20_000_000, 1, 6).selectExpr("sum(hash(id))").collect()
api = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}"
# The API is told a little later than the driver.
for _ in range(100):
    stages = json.load(urllib.request.urlopen(api + "/stages"))
    if stages and all(stage["status"] in ("COMPLETE", "SKIPPED") for stage in stages):
        break
tasks = [
    task
    for stage in stages
    for task in json.load(
        urllib.request.urlopen(f"{api}/stages/{stage['stageId']}/{stage['attemptId']}/taskList?length=1000")
    )
]
cpu = {}
for task in tasks:
    metrics = task["taskMetrics"]
    taken = metrics["executorCpuTime"] + metrics["executorDeserializeCpuTime"]
    cpu[task["executorId"]] = cpu.get(task["executorId"], 0) + taken
print(json.dumps({"id": context.applicationId, "tasks": len(tasks), "cpu_nanoseconds": cpu}))
spark.stop()
