//! A process for every connection: parent and child hold it at first, and either may be the last.

linger_testbed::late_answers! {
    perl_child_closes: Specimen::PerlChildCloses,
    perl_child_exits: Specimen::PerlChildExits,
    perl_parent_answers: Specimen::PerlParentAnswers,
    python_child_closes: Specimen::PythonChildCloses,
    python_child_exits: Specimen::PythonChildExits,
}
