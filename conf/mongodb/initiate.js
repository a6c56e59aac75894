// Initiate a replica set of one node, unless it is initiated, and wait until it accepts writes.
// The name by which the service reaches the node is in the variable MEMBER.
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: process.env.MEMBER }] });
}
while (!db.hello().isWritablePrimary) sleep(100);
