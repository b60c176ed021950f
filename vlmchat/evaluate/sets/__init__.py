"""Sets of questions: our own files, logs, and the public benchmarks as they are downloaded."""
