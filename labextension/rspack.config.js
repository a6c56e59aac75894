// Numeric ids are hashes of absolute paths. Names make the files the same wherever they are built.
module.exports = { optimization: { moduleIds: "named" } };
