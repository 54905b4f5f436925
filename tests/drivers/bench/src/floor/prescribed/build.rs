//! The build of a circuit (rxce.md §5.10).

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use client_nt::{
    event::Event,
    pool::NonPaged,
    status::{Result, check},
};
use rxce_client::{RXCE_VC, RXCE_VC_ACTIVE, RXCE_VC_SIGNATURE};
use wdk_sys::{
    NTSTATUS, PDEVICE_OBJECT, PEX_RUNDOWN_REF_CACHE_AWARE, PIRP, PVOID, STATUS_CONNECTION_ABORTED,
    STATUS_INVALID_PARAMETER, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS,
};

use super::{
    circuit::{Circuit, Kept},
    end::dismantle,
    life::Built,
    packet::Packet,
    record::{Home, Record},
    registry::Ref,
    root::{Connection, Driver, Root},
};
use crate::{
    client,
    floor::{file::File, request},
};

/// What the opening of an endpoint needs, so that it does not fail for memory later.
struct Opening {
    associate: Packet,
    connect: NonPaged<Record>,
}

impl Opening {
    fn new(stack_size: i8) -> Result<Self> {
        Ok(Self {
            associate: Packet::new(stack_size)?,
            connect: Record::allocate(stack_size, Home::Pool)?,
        })
    }
}

/// Builds a circuit on the connection of a root.
///
/// # Errors
///
/// `STATUS_INVALID_PARAMETER` with nothing changed, or the status of the step that failed; the structure is zeroed then.
pub(super) fn build(root: &NonPaged<Root>, public: NonNull<RXCE_VC>) -> Result {
    let key = root.connection_key().addr().get();
    let connection: Option<Ref<Connection>> = root.pointers.find(key);
    let connection = connection.ok_or(STATUS_INVALID_PARAMETER)?;
    root.pin();
    let (circuit, opening) = reserve(root, public).inspect_err(|_| {
        // SAFETY: Counted in above, and no circuit came of it.
        unsafe { root.unpin(None) };
    })?;
    let built = open(&circuit, opening).and_then(|connect| {
        publish(&circuit);
        finish(&circuit, &connection, connect)
    });
    if built.is_err() {
        // SAFETY: The build owns what it has not finished.
        unsafe { dismantle(circuit) };
    }
    built
}

/// Allocates a circuit and reserves the client's structure (steps 2 and 3).
fn reserve(root: &NonPaged<Root>, public: NonNull<RXCE_VC>) -> Result<(Ref<Circuit>, Opening)> {
    let stack_size = stack_size(root.address.file.device());
    let kept = Kept::new(stack_size)?;
    let circuit = Circuit::new(root.as_non_null(), public, kept)?;
    let opening = Opening::new(stack_size)?;
    // SAFETY: Initialised, and it lives until it is dismantled.
    let reserved = unsafe { root.pointers.reserve(circuit.as_non_null()) };
    let reserved = reserved.ok_or(STATUS_INVALID_PARAMETER)?;
    // The registry's from now on.
    let _ = circuit.into_raw();
    Ok((reserved, opening))
}

fn stack_size(device: PDEVICE_OBJECT) -> i8 {
    // SAFETY: The device of an open file.
    unsafe { (*device).StackSize }
}

/// Opens and associates the endpoint (steps 4 to 6); the connect is left.
fn open(circuit: &Ref<Circuit>, mut opening: Opening) -> Result<NonPaged<Record>> {
    let root = circuit.root();
    let id = root.ids.take()?;
    circuit.id.set(id);
    let device = client::device(root.provider);
    let endpoint = File::open(&device, b"ConnectionContext", &id.to_ne_bytes())?;
    let stack_size = stack_size(endpoint.device());
    // SAFETY: This is the circuit's build.
    unsafe { circuit.set_endpoint(endpoint) };
    if stack_size > opening.associate.stack_size() {
        // A filter sits above the endpoint.
        let kept = Kept::new(stack_size)?;
        // SAFETY: As above.
        unsafe { circuit.replace_kept(kept) };
        opening = Opening::new(stack_size)?;
    }
    associate(circuit, &opening.associate)?;
    Ok(opening.connect)
}

/// Where the end of the association is written, for who waits for it.
struct Outcome {
    over: Event,
    status: UnsafeCell<NTSTATUS>,
    driver: PEX_RUNDOWN_REF_CACHE_AWARE,
}

fn associate(circuit: &Circuit, packet: &Packet) -> Result {
    let (root, endpoint) = (circuit.root(), circuit.endpoint()?);
    let driver = &root.transport.driver;
    let outcome = Outcome {
        over: Event::uninitialised(),
        status: UnsafeCell::new(STATUS_SUCCESS),
        driver: driver.handle(),
    };
    // SAFETY: It stays where it is until the wait is over; a waiting thread's kernel stack is resident.
    unsafe { outcome.over.initialise(false) };
    let handle = root.address.file.handle().expose_provenance();
    let call = (request::ASSOCIATE_ADDRESS, [handle, 0, 0, 0]);
    let routine: request::Routine = associated;
    let context = (&raw const outcome).cast_mut().cast();
    let none = ptr::null_mut();
    // SAFETY: The packet is ours and fits the endpoint's device; the outcome outlives the request.
    unsafe { request::prepare(packet.irp(), endpoint, call, none, (routine, context)) };
    driver.acquire();
    // SAFETY: Prepared above; the endpoint is open.
    unsafe { request::call(endpoint.device(), packet.irp()) };
    outcome.over.wait();
    // SAFETY: Written before the event was set.
    check(unsafe { outcome.status.get().read() })
}

unsafe extern "C" fn associated(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: The waiter's stack, which stays until the event is set.
    let outcome = unsafe { &*context.cast::<Outcome>() };
    let driver = outcome.driver;
    // SAFETY: The packet was completed.
    let status = unsafe { request::status(irp) };
    // SAFETY: The waiter reads only after the event is set.
    unsafe { outcome.status.get().write(status) };
    outcome.over.set();
    // SAFETY: Taken before the request was sent.
    unsafe { Driver::release(driver) };
    STATUS_MORE_PROCESSING_REQUIRED
}

/// Lets everybody find the circuit (step 7): from now on the peer can disconnect it.
fn publish(circuit: &Ref<Circuit>) {
    let (root, id, public) = (circuit.root(), circuit.id.get(), circuit.public());
    circuit.hold(|_| {
        let (handle, object) = match circuit.endpoint() {
            Ok(endpoint) => (endpoint.handle(), endpoint.object()),
            Err(_) => (ptr::null_mut(), ptr::null_mut()),
        };
        let value = RXCE_VC {
            pConnection: root.connection_key().as_ptr(),
            hEndpoint: handle,
            pEndpointFileObject: object,
            State: RXCE_VC_ACTIVE,
            ConnectionId: ptr::without_provenance_mut(id),
            ..RXCE_VC::default()
        };
        // SAFETY: The structure is reserved by this build.
        unsafe { public.write(value) };
        // SAFETY: As above; the signature is the structure's first member.
        let signature = unsafe { AtomicU32::from_ptr(public.as_ptr().cast()) };
        signature.store(RXCE_VC_SIGNATURE, Ordering::Release);
    });
    root.ids.publish(id, circuit);
    // SAFETY: It was not linked, and is counted out before it goes.
    unsafe { root.link(circuit) };
    root.pointers.lift_reservation(circuit);
}

/// Connects (steps 8 and 9).
fn finish(circuit: &Ref<Circuit>, connection: &Connection, connect: NonPaged<Record>) -> Result {
    let endpoint = circuit.endpoint()?;
    let reference = circuit.again().ok_or(STATUS_CONNECTION_ABORTED)?;
    let connect = connect.into_raw();
    // SAFETY: New, and given up above.
    unsafe { Record::arm(connect, reference, ptr::null_mut()) };
    // SAFETY: The builder has a part until the end of this routine, or nobody has.
    let record = unsafe { connect.as_ref() };
    let listed = circuit.change(|life| {
        if !life.is_active() {
            life.fail_build();
            return false;
        }
        // SAFETY: Armed above.
        unsafe { life.list(record) };
        true
    });
    if !listed {
        // SAFETY: Not listed.
        unsafe { Record::disarm(connect) };
        circuit.wait_for(|life| life.idle());
        return Err(STATUS_CONNECTION_ABORTED);
    }
    let requested = connection.information().expose_provenance();
    let returned = circuit.returned().expose_provenance();
    let call = (request::CONNECT, [0, requested, returned, 0]);
    let target = (endpoint, endpoint.device());
    // SAFETY: Listed above; the parameters are parts of connection and circuit, which outlive it.
    unsafe { Record::send(connect, target, call, ptr::null_mut()) };
    let built = circuit.wait_for(|life| {
        let over = !record.is_listed();
        (over || life.is_build_cancelled()).then(|| {
            // SAFETY: It is over.
            let connected = over && unsafe { record.status() } >= 0;
            life.end_build(connected)
        })
    });
    let result = match built {
        Built::Alive => Ok(()),
        Built::Failed => {
            circuit.wait_for(|life| life.idle());
            // SAFETY: Nothing is under way any more.
            check(unsafe { record.status() }).and(Err(STATUS_CONNECTION_ABORTED))
        }
    };
    // SAFETY: The builder's part.
    unsafe { Record::drop_part(connect) };
    result
}
