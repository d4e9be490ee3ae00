"""Ways to take an option from the wrong source, or in silence, with the tests that must notice."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import projects

from absint.analyses.query.analysis import QueryAnalysis
from absint.cli import derived, project_file, project_keys, settings
from absint.cli.project_file import ProjectFile
from absint.cli.settings import Settings, ValueSource
from mutants.planting import into

MUTANTS = {}
mutant = into(MUTANTS)

_ORDER = "test_the_stronger_of_two_says_it"


def by_rank(weakest):
    """The layers in another order."""
    real = settings._merged
    return lambda name, layers: real(name, sorted(layers, key=weakest))


def from_source(kind, layer):
    return any(one.source is kind for one in layer.values())


@mutant((_ORDER, "variable", "command line"), (_ORDER, "command's variable", "command line"))
def the_environment_beats_the_command_line(patch):
    patch(settings, "_merged", by_rank(lambda layer: from_source(ValueSource.ENVIRONMENT, layer)))


@mutant((_ORDER, "file", "variable"), (_ORDER, "profile's table", "command's variable"), (_ORDER, "table", "command line"))
def the_file_beats_them_all(patch):
    patch(settings, "_merged", by_rank(lambda layer: from_source(ValueSource.FILE, layer)))


@mutant((_ORDER, "file", "table"), (_ORDER, "variable", "command's variable"), ("test_a_table_of_a_group_stands_between",))
def what_is_said_to_all_beats_what_is_said_to_one(patch):
    real = project_keys.levels
    patch(project_keys, "levels", lambda name: real(name)[::-1])


@mutant((_ORDER, "table", "profile"), (_ORDER, "file", "profile"))
def a_profile_is_weaker_than_the_rest(patch):
    real = settings._merged

    def swapped(name, layers):
        half = [layer for layer in layers if from_source(ValueSource.FILE, layer)]
        rest = [layer for layer in layers if not from_source(ValueSource.FILE, layer)]
        return real(name, [*half[::-1], *rest])

    patch(settings, "_merged", swapped)


@mutant(("test_files_are_relative_to_the_project_file_and_variables_to_the_caller",))
def files_are_relative_to_the_caller(patch):
    patch(ProjectFile, "beside", lambda self, name: Path(name))


@mutant(("test_files_are_relative_to_the_project_file_and_variables_to_the_caller",))
def files_inside_a_text_are_the_callers(patch):
    patch(project_keys, "_text", lambda one, value, file: str(value))


@mutant(("test_a_query_is_the_same_question_wherever_it_is_asked",))
def a_stray_file_speaks_to_queries(patch):
    patch(QueryAnalysis, "project", True)


@mutant(("test_what_is_excluded_by_a_stronger_source_is_set_aside", "patch = '3x3'\nnorm = 'l2'", {"eps": "1"}, {"eps": "1", "norm": "l2"}),
        ("test_a_table_sets_aside_what_stands_at_the_top",))
def nothing_is_set_aside(patch):
    def merged(name, layers):
        return {option: value for layer in layers for option, value in layer.items()}, {}

    patch(settings, "_merged", merged)


@mutant(("test_values_read_as_the_options_read_their_words",))
def decimals_are_those_of_the_nearest_float(patch):
    patch(project_file, "WrittenFloat", lambda text: project_keys.WrittenFloat(repr(float(text))))


@mutant(("test_without_both_only_the_command_line_counts",))
def no_config_means_nothing(patch):
    real = projects.settle
    patch(projects, "settle", lambda name, given, choice: real(name, given, replace(choice, none=False)))


@mutant(("test_the_nearest_file_counts_and_no_further_than_the_repository",))
def a_repository_is_no_end(patch):
    def found():
        return next((Path(folder) / project_file.NAME for folder in (Path.cwd(), *Path.cwd().parents)
                     if (folder / project_file.NAME).is_file()), None)

    patch(settings, "found_file", found)


@mutant(("test_every_fault_is_told_with_its_line",))
def names_that_nobody_knows_are_passed_over(patch):
    patch(project_keys, "_fault", lambda file, entry: "")


@mutant(("test_a_command_without_words_asks_the_projects_question",))
def the_command_is_repeated_without_what_others_said(patch):
    patch(Settings, "line", lambda self, words: shlex.join(["absint", *words]))


@mutant(("test_where_options_come_from_is_said_however_quiet",))
def silence(patch):
    patch(derived, "tell", lambda found: None)


@mutant(("test_a_flag_of_the_file_is_taken_back",))
def a_flag_is_never_taken_back(patch):
    real = derived.settle

    def settle(name, given, choice):
        kept = {option: value for option, value in given.items() if not isinstance(value, bool)}
        return real(name, kept, choice)

    patch(derived, "settle", settle)


@mutant(("test_an_error_says_who_stated_the_value",))
def errors_keep_it_to_themselves(patch):
    patch(Settings, "place", lambda self, error: None)


@mutant(("test_the_project_file_is_not_written_over",))
def the_file_may_be_written_over(patch):
    patch(Settings, "check_kept", lambda self: None)


@mutant(("test_a_journal_is_bound_to_values_not_to_who_states_them",))
def the_file_is_read_and_its_values_are_not_taken(patch):
    real = derived.settle

    def settle(name, given, choice):
        found = real(name, given, choice)
        return replace(found, values={option: one for option, one in found.values.items() if one.source is ValueSource.COMMAND_LINE
                                      or option in ("net", "data")})

    patch(derived, "settle", settle)
