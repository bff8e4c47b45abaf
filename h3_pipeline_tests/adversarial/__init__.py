"""The task engine attacked: bad files, random files, a bad store, a full disk, too little memory."""
