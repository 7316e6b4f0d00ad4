/** The loopback interface's address, as watchAddresses tells it. */
export const loopback = {
  interface: 'lo',
  address: '127.0.0.1',
  family: 4 as const,
  netmask: '255.0.0.0',
  prefix: 8,
  internal: true,
  scope: 0,
}
