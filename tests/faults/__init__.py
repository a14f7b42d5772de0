"""The fault suite, run by ``make faults``: real processes are killed, real disks filled, real writers collide."""
