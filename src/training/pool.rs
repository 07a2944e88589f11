//! Memory of matrices that are gone, kept for those to come: what the kernel gives
//! afresh it clears page by page, which was a tenth of a training step. Holds as much as
//! matrices of the pool were ever alive at a time, at most twice that: a block may be twice
//! as large as what it is given for.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Free memory that matrices share, or none: then memory comes from the allocator and
/// goes back there.
#[derive(Debug)]
pub struct Pool<T>(Option<Arc<Mutex<Vec<Vec<T>>>>>);

/// Numbers of a matrix for which a pool pays; the allocator keeps smaller blocks.
const LARGE: usize = 1 << 14;

impl<T> Pool<T> {
    /// `length` numbers that may hold anything.
    pub fn take(&self, length: usize) -> Memory<T>
    where
        T: Default + Clone,
    {
        let mut values = self.find(length).unwrap_or_default();
        values.resize(length, T::default());
        Memory {
            values,
            pool: self.clone(),
        }
    }

    /// The smallest free block that is large enough and not far too large. Where none is,
    /// one that is too small goes: its matrix has grown.
    fn find(&self, length: usize) -> Option<Vec<T>> {
        let pool = self.0.as_ref().filter(|_| length >= LARGE)?;
        let mut free = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |block: &Vec<T>| (length..=2 * length).contains(&block.capacity());
        let best = (0..free.len()).filter(|&at| fits(&free[at]));
        match best.min_by_key(|&at| free[at].capacity()) {
            Some(at) => Some(free.swap_remove(at)),
            None => {
                let grown = |block: &Vec<T>| (length / 2..length).contains(&block.capacity());
                let at = free.iter().position(grown)?;
                free.swap_remove(at);
                None
            }
        }
    }

    fn give(&self, values: Vec<T>) {
        if let Some(pool) = self.0.as_ref().filter(|_| values.capacity() >= LARGE) {
            let mut free = pool.lock().unwrap_or_else(PoisonError::into_inner);
            free.push(values);
        }
    }
}

impl<T> Default for Pool<T> {
    /// An empty pool.
    fn default() -> Self {
        Self(Some(Arc::default()))
    }
}

impl<T> Clone for Pool<T> {
    /// The same pool.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Numbers whose memory goes back to its pool when they are dropped.
#[derive(Debug)]
pub struct Memory<T> {
    values: Vec<T>,
    pool: Pool<T>,
}

impl<T> Memory<T> {
    /// Where it came from.
    pub fn pool(&self) -> &Pool<T> {
        &self.pool
    }
}

impl<T> From<Vec<T>> for Memory<T> {
    /// Of no pool.
    fn from(values: Vec<T>) -> Self {
        Self {
            values,
            pool: Pool(None),
        }
    }
}

impl<T: Clone> Clone for Memory<T> {
    fn clone(&self) -> Self {
        let mut values = self.pool.find(self.len()).unwrap_or_default();
        values.clear();
        values.extend_from_slice(self);
        Self {
            values,
            pool: self.pool.clone(),
        }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.values));
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_taken_again() {
        let pool = Pool::<f32>::default();
        let first = pool.take(LARGE);
        let place = first.as_ptr();
        drop(first);
        let again = pool.clone().take(LARGE - LARGE / 4);
        // Too small to be kept.
        assert_ne!(again.as_ptr(), place);
        drop(again);
        let again = pool.take(LARGE);
        assert_eq!((again.as_ptr(), again.len()), (place, LARGE));
        assert_ne!(pool.take(LARGE).as_ptr(), place);
        drop(again);
        // Half as large again would be wasted on it.
        assert_ne!(pool.take(LARGE / 2).as_ptr(), place);
    }
}
