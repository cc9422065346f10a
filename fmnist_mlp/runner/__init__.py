"""Who runs it: the plan of a sweep, the loop that follows it, a cluster, and cleaning up afterwards."""
