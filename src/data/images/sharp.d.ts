// sharp is an optional package: the sources compile where it is not installed.
declare module 'sharp'
