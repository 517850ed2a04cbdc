"""Does everything in a results folder follow from the rest?

`verify` asks; `run_checks` looks at one run, `table_checks` at a study's tables, `task_checks`
at those beyond polarity, `source_checks` at what was measured on pictures.
"""
