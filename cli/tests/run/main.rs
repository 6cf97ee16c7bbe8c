//! `linger run`, as its users meet it: the built command against programs made for it.

mod caveats;
mod finding;
mod inheritance;
mod privileges;
mod refusals;
mod scripts;
mod servers;
mod settings;
mod stage;
