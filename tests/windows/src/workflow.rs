//! A workflow of GitHub Actions: its types by the models of the zizmor project, its keys and references here. What a forge checks beyond
//! that (whether an action has an input of that name, whether a runner image exists) is not known on this host.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use github_actions_models::workflow::Workflow;
use yaml_serde::{Mapping, Value};

/// Keys of a workflow, a job and a step ("Workflow syntax for GitHub Actions").
const WORKFLOW_KEYS: &[&str] = &[
    "name",
    "run-name",
    "on",
    "permissions",
    "env",
    "defaults",
    "concurrency",
    "jobs",
];
/// Events that start one; those there is a use for here.
const EVENTS: &[&str] = &[
    "push",
    "pull_request",
    "workflow_dispatch",
    "schedule",
    "release",
];
const JOB_KEYS: &[&str] = &[
    "name",
    "permissions",
    "needs",
    "if",
    "runs-on",
    "environment",
    "concurrency",
    "outputs",
    "env",
    "defaults",
    "steps",
    "timeout-minutes",
    "strategy",
    "continue-on-error",
    "container",
    "services",
];
const STEP_KEYS: &[&str] = &[
    "id",
    "if",
    "name",
    "uses",
    "run",
    "working-directory",
    "shell",
    "with",
    "env",
    "continue-on-error",
    "timeout-minutes",
];

/// What a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `pwsh`, `sh` and so on.
    pub shell: String,
    /// Its lines; expressions of the forge stand in them as words.
    pub script: String,
}

/// Checks a workflow; returns what its steps run.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(text: &str) -> Result<Vec<Run>> {
    yaml_serde::from_str::<Workflow>(text).context("no workflow")?;
    let whole: Value = yaml_serde::from_str(text)?;
    let workflow = mapping(&whole, "the workflow")?;
    keys(workflow, WORKFLOW_KEYS, "the workflow")?;
    keys(
        mapping(get(workflow, "on")?, "on")?,
        EVENTS,
        "what starts it",
    )?;
    let jobs = mapping(get(workflow, "jobs")?, "jobs")?;
    let names: BTreeSet<&str> = jobs.keys().filter_map(Value::as_str).collect();
    let mut runs = Vec::new();
    for (name, job) in jobs {
        let name = name.as_str().context("a job without a name")?;
        let job = mapping(job, name)?;
        keys(job, JOB_KEYS, name)?;
        let needs = job.get("needs");
        let needed = needs.iter().flat_map(|needs| match needs {
            Value::Sequence(all) => all.clone(),
            one => vec![(*one).clone()],
        });
        for need in needed {
            let need = need.as_str().unwrap_or_default().to_owned();
            ensure!(
                names.contains(need.as_str()) && need != name,
                "{name} needs `{need}`, which is no other job"
            );
        }
        matrix(job, name)?;
        let default = job
            .get("defaults")
            .and_then(|defaults| defaults.get("run")?.get("shell")?.as_str())
            .unwrap_or("sh");
        let steps = get(job, "steps")?
            .as_sequence()
            .context("steps are a list")?;
        for step in steps {
            let step = mapping(step, name)?;
            keys(step, STEP_KEYS, name)?;
            let (uses, run) = (step.get("uses"), step.get("run"));
            ensure!(
                uses.is_some() != run.is_some(),
                "{name}: a step either uses an action or runs a script"
            );
            if let Some(uses) = uses.and_then(Value::as_str) {
                ensure!(uses.contains('@'), "{name}: `{uses}` names no version");
            }
            if let Some(script) = run {
                let shell = step.get("shell").and_then(Value::as_str);
                runs.push(Run {
                    shell: shell.unwrap_or(default).to_owned(),
                    script: script.as_str().context("a script is text")?.to_owned(),
                });
            }
        }
    }
    Ok(runs)
}

/// Every `matrix.NAME` of a job has to be a dimension of its matrix.
fn matrix(job: &Mapping, name: &str) -> Result<()> {
    let dimensions = job
        .get("strategy")
        .and_then(|strategy| strategy.get("matrix")?.as_mapping().cloned())
        .unwrap_or_default();
    let text = yaml_serde::to_string(job)?;
    for part in text.split("matrix.").skip(1) {
        let dimension: String = part
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter))
            .collect();
        ensure!(
            dimensions.contains_key(dimension.as_str()),
            "{name}: there is no matrix.{dimension}"
        );
    }
    Ok(())
}

fn get<'a>(mapping: &'a Mapping, key: &str) -> Result<&'a Value> {
    mapping.get(key).with_context(|| format!("no `{key}`"))
}

fn mapping<'a>(value: &'a Value, what: &str) -> Result<&'a Mapping> {
    value
        .as_mapping()
        .with_context(|| format!("{what} is no mapping"))
}

fn keys(mapping: &Mapping, known: &[&str], what: &str) -> Result<()> {
    for key in mapping.keys() {
        let key = key.as_str().unwrap_or_default();
        ensure!(known.contains(&key), "{what}: there is no key `{key}`");
    }
    Ok(())
}
