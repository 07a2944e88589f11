//! A bounded amount of something, shared by threads: who wants more than is left
//! waits until others give back. Keeps memory within its bound where one task may
//! need much more than another.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What may be taken at once, by all threads together.
pub struct Allowance {
    total: u64,
    left: Mutex<u64>,
    given_back: Condvar,
}

/// Some of an [`Allowance`], given back when dropped.
pub struct Held<'a> {
    allowance: &'a Allowance,
    amount: u64,
}

impl Allowance {
    /// An allowance of `total`.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            left: Mutex::new(total),
            given_back: Condvar::new(),
        }
    }

    /// Takes `amount`, waiting until it is there. More than the total counts as the
    /// total: it is let in alone. A thread that holds some must not take more.
    pub fn take(&self, amount: u64) -> Held<'_> {
        let amount = amount.min(self.total);
        let mut left = lock(&self.left);
        while *left < amount {
            left = self
                .given_back
                .wait(left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *left -= amount;
        Held {
            allowance: self,
            amount,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.allowance.left) += self.amount;
        self.allowance.given_back.notify_all();
    }
}

fn lock(left: &Mutex<u64>) -> MutexGuard<'_, u64> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn together_threads_never_hold_more_than_the_total() {
        let allowance = Allowance::new(100);
        let held = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (allowance, held) = (&allowance, &held);
                scope.spawn(move || {
                    for round in 0..200 {
                        let amount = (thread * 37 + round * 11) % 140;
                        let counted = amount.min(100);
                        let _held = allowance.take(amount);
                        let now = held.fetch_add(counted, Ordering::SeqCst) + counted;
                        assert!(now <= 100, "{now}");
                        std::thread::yield_now();
                        held.fetch_sub(counted, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*lock(&allowance.left), 100);
    }
}
