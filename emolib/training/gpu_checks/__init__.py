"""The checks of `gpu_check`: single steps (`networks`) and whole `trainings`."""
