"""The commands of officers, custodians and auditors; `khunjerab/cli.py` puts them into one program."""
