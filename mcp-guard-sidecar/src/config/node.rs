//! A config as a tree in which every part knows where it was written.

use serde_json::Value;

use super::key_path::{KeyPath, Step};
use super::problem::Place;

/// A part of a config.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is in the config as it was written; stays when other parts are taken out.
    pub(super) path: KeyPath,
    pub(super) place: Place,
    pub(super) content: Content,
    /// How a scalar was written that refers to the environment, where secrets are: what it stands for is never told.
    pub(super) written: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

impl Node {
    /// An empty mapping: a config in which nothing was written.
    pub(super) fn empty(place: Place) -> Self {
        Self { path: KeyPath::root(), place, content: Content::Mapping(Vec::new()), written: None }
    }

    /// The part at `path`, counted in this tree as it is now.
    pub(super) fn find(&self, path: &KeyPath) -> Option<&Self> {
        path.steps().iter().try_fold(self, |node, step| node.step(step))
    }

    /// Where the key of the part at `path` was written, or the part itself where it is an item of a list.
    pub(super) fn key_place(&self, path: &KeyPath) -> Option<Place> {
        let (last, outer) = path.steps().split_last()?;
        let outer = outer.iter().try_fold(self, |node, step| node.step(step))?;
        match (last, &outer.content) {
            (Step::Key(key), Content::Mapping(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| entry.key_place)
            }
            _ => outer.step(last).map(|node| node.place),
        }
    }

    /// Takes the part at `path` out; false if there is none, or if it is the whole.
    pub(super) fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((last, outer)) = path.steps().split_last() else {
            return false;
        };
        let Some(outer) = outer.iter().try_fold(self, |node, step| node.step_mut(step)) else {
            return false;
        };
        match (last, &mut outer.content) {
            (Step::Key(key), Content::Mapping(entries)) => {
                let before = entries.len();
                entries.retain(|entry| entry.key != *key);
                entries.len() < before
            }
            (Step::Index(index), Content::List(items)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }

    /// Puts `content` at `path`, and the mappings and lists on the way that are missing. Where something else is in
    /// the way it stays, and is refused when the tree is decoded.
    pub(super) fn set(&mut self, path: &KeyPath, content: Content, place: Place) {
        let mut node = self;
        for step in path.steps() {
            let Some(next) = node.step_or_insert(step, place) else {
                return;
            };
            node = next;
        }
        node.place = place;
        node.content = content;
        node.written = None;
    }

    /// The tree without its places.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.value())).collect(),
        }
    }

    fn step(&self, step: &Step) -> Option<&Self> {
        match (step, &self.content) {
            (Step::Key(key), Content::Mapping(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Step::Index(index), Content::List(items)) => items.get(*index),
            _ => None,
        }
    }

    fn step_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (step, &mut self.content) {
            (Step::Key(key), Content::Mapping(entries)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
            }
            (Step::Index(index), Content::List(items)) => items.get_mut(*index),
            _ => None,
        }
    }

    fn step_or_insert(&mut self, step: &Step, place: Place) -> Option<&mut Self> {
        if self.step(step).is_none() {
            self.insert(step, place);
        }
        self.step_mut(step)
    }

    fn insert(&mut self, step: &Step, place: Place) {
        if matches!(&self.content, Content::Mapping(entries) if entries.is_empty()) && matches!(step, Step::Index(_)) {
            self.content = Content::List(Vec::new());
        }
        let new = |path| Self { path, ..Self::empty(place) };
        match (step, &mut self.content) {
            (Step::Key(key), Content::Mapping(entries)) => {
                entries.push(Entry { key: key.clone(), key_place: place, value: new(self.path.key(key)) });
            }
            (Step::Index(index), Content::List(items)) if *index == items.len() => {
                items.push(new(self.path.index(*index)));
            }
            _ => {}
        }
    }
}
