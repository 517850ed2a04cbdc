"""The checks of `gpu_check`: of the machine, of single steps (`networks`), of whole `trainings`."""
