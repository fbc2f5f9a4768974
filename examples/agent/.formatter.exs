[inputs: ["{mix,.formatter}.exs", "{config,lib,test,demo,load}/**/*.{ex,exs}"]]
