//! Model checking of the life-cycle procedures: the code that ships, run by threads whose every step shuttle schedules,
//! against transports that do whatever the rules of TDI leave open.

mod building;
mod cancelling;
mod chance;
mod client;
mod competing;
mod disconnect;
mod explore;
mod moments;
mod pairs;
mod record;
mod request;
mod scenario;
mod sends;
mod sim;
mod tear_down;
mod timing;
mod transport;
mod vc;
