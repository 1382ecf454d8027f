"""The shared vocabulary: frames, results, skeletons, geometry, queues and faults, without I/O."""
