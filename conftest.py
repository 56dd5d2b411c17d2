"""The record of acceptance rows is kept in every test run, whatever part of the tests it is."""

pytest_plugins = ["tests.acceptance"]
