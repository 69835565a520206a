"""What a model is measured by: metrics, baselines and the narrowing that makes their inputs."""
