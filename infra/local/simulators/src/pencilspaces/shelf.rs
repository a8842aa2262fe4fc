//! Things in the order in which they were made, each found by its id.

use std::collections::HashMap;

/// Things with ids.
pub(super) struct Shelf<T> {
    things: Vec<T>,
    places: HashMap<String, usize>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            things: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T> Shelf<T> {
    pub(super) fn add(&mut self, id: &str, thing: T) {
        self.places.insert(id.to_owned(), self.things.len());
        self.things.push(thing);
    }

    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.things.get(*self.places.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.things.get_mut(*self.places.get(id)?)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.things.iter()
    }

    /// Throws away what `keeps` does not want to keep.
    pub(super) fn retain(&mut self, keeps: impl Fn(&T) -> bool, id: impl Fn(&T) -> &str) {
        self.things.retain(keeps);
        let places = self.things.iter().enumerate();
        self.places = places
            .map(|(place, thing)| (id(thing).to_owned(), place))
            .collect();
    }
}
