"""What a job needs of the machine, whatever it works on: files, locks, GPUs, subprocesses, progress, provenance."""
