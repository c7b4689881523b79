// A small door to IndexedDB: two stores that keep their order. Without IndexedDB (private windows of some browsers) the
// page works from memory, and says so.

const NAME = "asyncfilter-review";

export const OUTBOX = "outbox";
export const DONE = "done";

let opened = null;

function open() {
  opened ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open(NAME, 1);
    } catch {
      return resolve(null);
    }
    request.onupgradeneeded = () => {
      for (const store of [OUTBOX, DONE]) request.result.createObjectStore(store, { keyPath: "order", autoIncrement: true });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opened;
}

/** One transaction; resolves when it is written. `use` gets the store. */
async function within(store, mode, use) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = use(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
    transaction.commit?.();
  });
}

/** Everything in a store, in order. */
export const everything = async (store) => (await within(store, "readonly", (one) => one.getAll())) ?? [];

/** Add rows in one transaction, so that all of a group are there or none; each row gets its `order`. */
export async function add(store, rows) {
  await within(store, "readwrite", (one) => {
    for (const row of rows) one.add(row).onsuccess = (event) => (row.order = event.target.result);
  });
}

/** Write rows that are there in place of what they were. */
export const replace = (store, rows) => within(store, "readwrite", (one) => void rows.forEach((row) => one.put(row)));

/** Remove rows. */
export async function remove(store, rows) {
  await within(store, "readwrite", (one) => {
    for (const row of rows) if (row.order !== undefined) one.delete(row.order);
  });
}

/** Whether rows outlive a reload. */
export const isDurable = async () => (await open()) !== null;
